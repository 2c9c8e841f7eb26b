// Kernel arguments, shared by the host compiler and the kernel compiler. No standard headers: NVRTC, which also
// compiles the kernels, has none.
#pragma once

#include "engine/hermitian_product.h"
#include "engine/portable.h"

namespace jaxmg {

// A rectangle to copy: `columns` runs of `column_bytes`. The address `to` lies in one of this rank's buffers; the copy
// goes to the corresponding address of each target.
struct CopyItem {
  const char* from;
  char* to;
  long long from_pitch;
  long long to_pitch;
  int column_bytes;
  int columns;
  unsigned short targets;  // bit i: copied to the batch's target i
  unsigned char region;    // the call's buffer that `to` lies in
  unsigned char vector;    // access width in bytes that divides every address and size: 16, 8 or 4
};

constexpr int copy_targets = 8;
constexpr int copy_regions = 8;
constexpr int copy_items = 64;

struct CopyBatch {
  long long offset[copy_targets][copy_regions];  // from an own address to the target's
  int count;
  CopyItem items[copy_items];
};
static_assert(sizeof(CopyBatch) <= 4096, "kernel arguments are limited to 4 KiB");

constexpr int subtract_terms = 16;

// Columns of real numbers; complex ones are pairs.
struct Subtraction {
  const void* terms[subtract_terms];
  long long term_ld[subtract_terms];
  void* x;
  long long x_ld;
  int count;
  int rows;
  int columns;
};

// A panel to factor by the thread blocks of a cooperative launch, see geqrt_kernel.h: at most `geqrt_blocks` of
// engine/scratch.h, each with at least one row.
struct PanelQr {
  void* a;  // m by n
  long long ld;
  void* t;  // min(m, n) by min(m, n)
  long long ldt;
  void* scratch;      // geqrt_scratch(n) numbers
  unsigned* arrived;  // zero
  int m, n;
  int rows;       // of a thread block, a multiple of 32
  int in_shared;  // whether the rows are kept in shared memory
  int passes;     // of CholeskyQR, at most, before reflectors are formed column by column
};

constexpr int qr_columns = 128;  // at most
constexpr int qr_threads = 512;  // of a block

// W of a two-sided update by the thread blocks of a cooperative launch, see two_sided_kernel.h.
struct TwoSided {
  const void* v;  // m by n
  long long ldv;
  const void* t;  // n by n
  long long ldt;
  void* w;  // m by n: A V on entry
  long long ldw;
  void* scratch;      // two_sided_scratch(n) numbers
  unsigned* arrived;  // zero
  int m, n;
  int rows;  // of a chunk, a multiple of 8
};

constexpr int two_sided_columns = 64;  // at most
// Distance of the columns of a panel's rows in shared memory.
JAXMG_PORTABLE constexpr int panel_pitch(int rows) { return rows + 4; }
// Numbers in shared memory: a chunk of V and Z, and two matrices of order n, or sums of each thread.
JAXMG_PORTABLE constexpr int two_sided_shared(int n, int rows) {
  const int width = (n + 7) / 8 * 8, square = width * panel_pitch(width);
  return 2 * n * panel_pitch(rows) + square + (square > qr_threads ? square : qr_threads);
}

// A panel to factor by the thread blocks of a cooperative launch, see getrf_kernel.h: a thread for each row.
struct PanelLu {
  void* a;  // m by n, m >= n
  long long ld;
  void* slots;  // lu_slots_bytes() of the blocks, zero
  int* pivots;
  int m, n;
  int row;  // the number of the first row
};

constexpr int lu_columns = 32;   // at most; half as many where numbers take 16 bytes
constexpr int lu_threads = 512;  // of a block, at most
constexpr int lu_blocks = 160;   // at most, and no more than a block has threads

// Packets of 16 bytes for a row, and for the candidate for the pivot; double-buffered over columns.
JAXMG_PORTABLE constexpr long long lu_slots_bytes(long long blocks) { return 2 * blocks * (lu_columns + 1) * 16; }

// A solve with a unit lower triangle, see unit_lower_kernel.h: a thread of a block for each row of L.
struct UnitLowerSolve {
  const void* l;  // of order n
  long long ldl;
  void* b;  // n by `columns`
  long long ldb;
  int n, columns;
};

constexpr int unit_lower_order = 128;  // at most
constexpr int unit_lower_batch = 2;    // columns of B of a warp

// Width of the tiles of potrf_kernel.h, and of a warp's share of a tile's columns.
template <int scalar_bytes>
constexpr int cholesky_width = scalar_bytes == 16 ? 16 : 32;
constexpr int cholesky_columns_of_warp = 4;

// CholeskyQR of a panel, see cholesky_qr_kernel.h: n columns as whole tiles, and the distance of the columns of its
// triangular matrices, and of the panel's columns, in shared memory.
template <int scalar_bytes>
constexpr int gram_columns = scalar_bytes == 16 ? 32 : 64;  // at most
template <int scalar_bytes>
JAXMG_PORTABLE constexpr int gram_width(int n) {
  constexpr int tile = cholesky_width<scalar_bytes>;
  return (n + tile - 1) / tile * tile;
}
JAXMG_PORTABLE constexpr int gram_pitch(int width) { return width + 2; }
// Numbers in shared memory beside the panel: two triangles, and a tile or a warp's share of sums for each warp.
template <int scalar_bytes>
JAXMG_PORTABLE constexpr int gram_shared(int n) {
  constexpr int tile = cholesky_width<scalar_bytes>;
  const int width = gram_width<scalar_bytes>(n);
  return 2 * width * gram_pitch(width) + (tile * tile > qr_threads ? tile * tile : qr_threads);
}
// Threads of a block that form sums: all of them in a factorisation. In a solve, there is one more warp.
template <int scalar_bytes>
constexpr int cholesky_threads = 32 * cholesky_width<scalar_bytes> / cholesky_columns_of_warp;
// Distance of the columns of a tile with this many rows in shared memory, which avoids bank conflicts.
template <int scalar_bytes>
JAXMG_PORTABLE constexpr int cholesky_pitch(int rows) {
  return rows + (scalar_bytes == 4 ? 4 : 2);
}
// Shared memory: partial sums of each warp, a tile of X, a tile of L, and the reciprocals of its diagonal.
template <int scalar_bytes>
JAXMG_PORTABLE constexpr int cholesky_shared_bytes(int rows) {
  constexpr int width = cholesky_width<scalar_bytes>, warps = cholesky_threads<scalar_bytes> / 32;
  return scalar_bytes * width * ((warps + 1) * cholesky_pitch<scalar_bytes>(rows) + width + 1);
}

// A block to factor, see potrf_kernel.h: a thread block for each row of tiles.
struct CholeskyBlock {
  void* a;
  long long ld;
  int* failed;    // potrf's info
  int* progress;  // zero: the number of rows of tiles taken, then the number of tiles finished in each row
  int n;
};

// X L^H = B in place of B, see potrf_kernel.h.
struct RightSolve {
  const void* l;  // n by n, lower triangle
  long long ldl;
  void* x;  // rows by n
  long long ldx;
  int rows, n;
};

// A triangular solve by the thread blocks of a cooperative launch on each rank, see sweep_kernel.h. The columns of the
// factor are dealt as in layout/tile_columns.h, and tiles are cut into units of the chain.
constexpr int sweep_ranks = 16;     // at most
constexpr int sweep_threads = 256;  // of a block
constexpr int sweep_piece = 32;     // unknowns that a warp solves for
template <int scalar_bytes>
constexpr int sweep_unit_columns = scalar_bytes == 16  ? 128
                                   : scalar_bytes == 8 ? 192
                                                       : 256;  // at most
constexpr int sweep_many = 8;                                  // right-hand sides at once; most kernels have only one
template <int scalar_bytes>
constexpr int sweep_most_columns = scalar_bytes == 4 ? sweep_many : 1;

struct TriangularSweep {
  const void* a;  // own columns
  long long ld;
  void* x;  // n by `columns`: B, then X
  long long ldx;
  void* solved;  // n by the right-hand sides at once: X as it becomes known. All bits are set.
  void* sums;    // `shard` by the right-hand sides at once, for each rank: updates of own unknowns. All bits are set.
  long long offset[sweep_ranks];  // bytes from an own address to that of another rank
  const int* stop;                // nonzero: give up; may be null
  long long limit;                // nanoseconds without progress after which the kernel fails
  int n, shard, tile;
  int full, tiles;         // full tiles of a shard, and all of its tiles
  int parts, unit, units;  // units of a tile, the columns of one, and the number of all
  int ranks, rank, columns;
  int chains;  // thread blocks of the chain
  int ascending, conjugated, unit_diagonal;
};

// Shared memory of the chain for units of at most `pieces` pieces: inverses and an operand in double precision, the
// unit's triangle in squares, and its unknowns. Workers need less.
template <int scalar_bytes, bool complex>
JAXMG_PORTABLE constexpr int sweep_shared_bytes(int pieces) {
  constexpr int square = sweep_piece * (sweep_piece + 1), wide = complex ? 16 : 8;
  return ((pieces + 1) / 2 * square + sweep_piece * sweep_most_columns<scalar_bytes>)*wide +
         (pieces * (pieces + 1) / 2 * square + pieces * sweep_piece * sweep_most_columns<scalar_bytes>)*scalar_bytes;
}

// A product with columns of a Hermitian matrix, see hermitian_kernel.h.
struct HermitianProduct {
  const void* a;  // `own` columns
  long long ld;
  const void* x;
  void* y;
  void* of_rows;     // sums of rows, a column for each chunk
  void* of_columns;  // sums of columns, a column for each strip
  int n, first, own;
};

constexpr int hermitian_threads = 256;  // of a block

// Columns of a matrix to scale, to copy to single precision and to sum, see equilibrate_kernel.h.
struct Equilibration {
  const void* a;  // `own` columns
  long long ld;
  const void* rows;     // factors
  const void* columns;  // factors
  const void* shift;
  void* to;
  long long to_ld;
  void* sums_of_rows;     // partial sums: a column for each chunk
  void* sums_of_columns;  // partial sums: a column for each strip
  void* of_rows;
  void* of_columns;
  int n, first, own;
  int lower;
};

// A pass over the rows of a tall matrix, see row_pass_kernel.h.
struct RowPass {
  const void* a;  // n by m
  long long ld;
  const void* x;  // n by `columns`
  long long ldx;
  const void* w;  // m by `right` columns; the others are zero
  long long ldw;
  void* r;  // m by `columns`, may be w; null: not stored
  long long ldr;
  void* sums;  // n + 1 by `columns` for each block
  long long m;
  int n, columns, right;
};

template <int scalar_bytes>
constexpr int row_pass_columns = 16 / scalar_bytes;  // of a thread
constexpr int row_pass_threads = 512;                // of a block, at most

// A band to reduce by the thread blocks of a cooperative launch, see chase_kernel.h.
struct Chase {
  void* band;        // 2b by n + 3b, zero from column n on
  void* reflectors;  // packed as in engine/reflectors.h, zero; may be null
  int* progress;     // n words, zero
  int* info;
  int n;
  int first, sweeps;  // of every group, with reflectors that are kept
};

constexpr int chase_threads = 352;  // of a block

constexpr int diamond_waves = 64;

// The parts of diamonds (g + i, t + i), i < count, of several waves. Parts of wave k are written to q from number
// first[k] on.
struct DiamondBatch {
  const void* reflectors;  // blocks from number `skipped` on
  void* q;
  long long skipped;
  int levels;
  int n;
  int g[diamond_waves];
  int t[diamond_waves];
  int count[diamond_waves];
  long long first[diamond_waves];
};
static_assert(sizeof(DiamondBatch) <= 4096, "kernel arguments are limited to 4 KiB");

// The diamonds of waves [begin, end) to apply to Z, see waves_kernel.h.
struct WaveRange {
  const void* reflectors;  // blocks from number `skipped` on
  void* blocks;            // block reflectors of the diamonds of these waves, the first of which has number `first`
  void* z;
  long long ldz;
  int* progress;  // zero: the number of tasks drawn, then the finished steps of each warp of each slab and group
  long long skipped, first;
  int n, columns;
  int begin, end;
  int first_group, last_group;  // with diamonds in these waves
  int depth, width;             // groups, and slabs, that are processed together
  int aligned;                  // whether columns of Z begin at multiples of 16 bytes
};

constexpr int wy_sweeps = 16;       // of a block reflector in compact WY form
constexpr int waves_columns = 128;  // of a slab of Z, 16 for each warp
constexpr int waves_threads = 2 * waves_columns;
// Of a block reflector: the distance of columns of V, which avoids bank conflicts, and the numbers of V and T.
JAXMG_PORTABLE constexpr int wy_pitch(int b) { return b + wy_sweeps + 2; }
JAXMG_PORTABLE constexpr int wy_numbers(int b) { return wy_sweeps * wy_pitch(b) + 192; }
// Distance of a slab's columns in shared memory, which avoids bank conflicts where whole columns are copied (`bulk`).
JAXMG_PORTABLE constexpr int waves_pitch(int b, bool bulk) { return bulk ? b + 8 : b; }
// Shared memory: rows of a slab, the block reflectors of two steps, and barriers.
JAXMG_PORTABLE constexpr int waves_shared_bytes(int b, bool bulk) {
  return 8 * (waves_columns * waves_pitch(b, bulk) + 2 * (b / wy_sweeps) * wy_numbers(b)) + 256;
}
}  // namespace jaxmg
