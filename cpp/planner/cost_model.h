// How long a call takes, predicted from its sizes and from what machines were measured to do. Pure arithmetic: the
// estimates of the planners and the comparison of this library's layout with a grid are made of it.
//
// Two layouts are told apart. That of `ColumnsCost` is this library's: tile columns dealt to the ranks in turn, where
// what ranks need of each other goes from each that has it to each that wants it. That of `GridCost` is a
// two-dimensional block-cyclic one with broadcasts along rows and columns of the grid, cuSOLVERMp's. A rank of the
// former receives all of a factor, N^2 / 2 elements, however many ranks there are; one of the latter about N^2 /
// sqrt(P), for more messages in the chain of panels (van de Geijn and Watts, "SUMMA", Concurrency: Practice and
// Experience 9, 1997, for the volumes).
#pragma once

#include <cstdint>

#include "core/arithmetic.h"
#include "core/scalar.h"
#include "engine/scratch.h"

namespace jaxmg {

// Ranks stand in `hosts` groups of equal size: within one they are joined by links (NVLink), between them by a network.
// Zero stands for what is known of the platform: of links by measurement, of networks by assumption only, one adapter
// of 400 Gbit/s for each rank.
struct Network {
  std::int64_t hosts = 1;
  double link_bytes = 0;       // per second and rank, all ranks sending
  double network_bytes = 0;    // the same between hosts
  double network_seconds = 0;  // until the smallest message between hosts has arrived
};

// What one rank does, in seconds and in operations of its scalar type (an fma counts as two, a complex one as eight).
struct Machine {
  double flops;             // sustained GEMM rate of deep products
  double half_depth;        // depth of the products that reach half of it
  double half_flops;        // GEMM rate in tensor cores with operands of FP16; 0 if it has none
  double thin_flops;        // rate of the products of an eigensolver, which are thin or strided
  double waves_flops;       // its back-transformation from tridiagonal form, counted as products of dense diamonds
  double call_seconds;      // a call from Python in jit: to dispatch the program, and to begin
  double device_seconds;    // the same for each device: ranks meet, and their kernels are launched
  double kept_seconds;      // more for each device, if the caller keeps the factor
  double potrf_seconds;     // a column of a matrix on one rank, beyond the products
  double getrf_seconds;     // the same of an LU factorisation, for n = 1024
  double potri_seconds;     // a column of the inverse from a factor, beyond its products
  double pivot_seconds;     // a column of the chain of diagonal blocks, with its panel
  double block_seconds;     // a block of reflectors that several ranks apply: broadcast and launches
  double reflect_seconds;   // a column of a panel of few rows, to find its reflector and apply it
  double polar_efficiency;  // part of the GEMM rate that a polar decomposition reaches
  double polar_seconds;     // a column of a step of a polar decomposition, beyond its products and factorisation
  double tile_seconds;      // a tile column of such a step: launches and exchanges
  double search_seconds;    // a column of a panel of few rows, to find its pivot and eliminate it
  double step_seconds;      // a step of the chain of a solve with one right-hand side
  double unknown_seconds;   // an unknown of the chain of a solve by one kernel on each GPU
  double sweep_bytes;       // per second: these kernels read the factor
  double begin_seconds;     // more for a call of these kernels from Python
  double trsm_seconds;      // an unknown of a triangular system on one rank, with one right-hand side
  double round_seconds;     // of each rank, and once more, in a step with tall matrices: sums, norms for the host
  double several_seconds;   // a column of a step of a solve, more with several right-hand sides
  double panel_seconds;     // a panel of the reduction to a band
  double sweep_seconds;     // a column of the band, for each of its diagonals: the chain of bulge chasing
  double chase_seconds;     // an element of the matrix, for each diagonal of the band: its work
  double count_seconds;     // a row of a tridiagonal matrix, to count eigenvalues at all points of a bisection
  double value_seconds;     // the same for each eigenvalue, where there are many: its work
  double column_seconds;    // a column of a reduction to tridiagonal form in one stage, of several ranks
  double syevd_seconds;     // the same on one rank, with all that follows; 0: not known
  double memory_bytes;
};

// Throws Error if there are more hosts than ranks.
class CostModel {
 public:
  CostModel(Platform platform, ScalarType type, std::int64_t ranks, const Network& network);

  // What a call of a routine from Python takes besides the routine, the same for all choices of the planner. `kept`:
  // the caller keeps the matrix, a factor; `sweeps`: all ranks solve with it.
  double call(bool kept, bool sweeps) const;

 protected:
  double elements(double count) const { return count * size_; }  // in bytes
  double rate(double depth) const { return machine_.flops * depth / (depth + machine_.half_depth); }
  bool several_hosts() const { return ranks_ > per_host_; }
  // From rows of A^T to A: transposed on each rank, and sent to others.
  double transposition(double n) const;

  Machine machine_;
  ScalarType type_;
  double ranks_, per_host_;
  double size_, fma_;  // bytes of a scalar; its operations in an fma, as a multiple of a real one's
  double link_bytes_, network_bytes_, network_seconds_;
};

class ColumnsCost : public CostModel {
 public:
  using CostModel::CostModel;

  // Dealing shards of `bytes` out or back, or sending them from rows to columns.
  double deal(double bytes) const;
  double deal(std::int64_t bytes) const { return deal(static_cast<double>(bytes)); }
  // Sending shards of `bytes` to one rank, or parts of that size from one rank to all.
  double collect(double bytes) const { return spread(bytes, 1) + exchange(); }
  double potrf(std::int64_t n, std::int64_t tile, std::int64_t depth, Arithmetic arithmetic = Arithmetic::full) const;
  double potrs(std::int64_t n, std::int64_t nrhs, std::int64_t tile, std::int64_t depth, bool distributed) const;
  double sweeps(std::int64_t n, std::int64_t nrhs, std::int64_t tile, std::int64_t depth, bool distributed) const;
  double potri(std::int64_t n, std::int64_t tile, std::int64_t depth) const;
  // Products with a Hermitian matrix, whose triangle each of them reads twice, and their sum over the ranks.
  double hemm(std::int64_t n, std::int64_t nrhs, std::int64_t tile) const;
  // Reading a matrix, or a triangle of it, and writing a copy in single precision.
  double equilibrate(std::int64_t n, bool triangle) const;
  double getrf(std::int64_t n, std::int64_t tile, std::int64_t depth, Arithmetic arithmetic = Arithmetic::full) const;
  double getri(std::int64_t n, std::int64_t tile) const;
  double geqrf(std::int64_t m, std::int64_t n, std::int64_t tile) const;
  double orgqr(std::int64_t m, std::int64_t n, std::int64_t tile) const;
  double tsqr(std::int64_t m, std::int64_t n, bool vectors) const;
  // Of a matrix of which the first Gram matrix suffices.
  double tall_gels(std::int64_t m, std::int64_t n) const;
  double getsls(std::int64_t rows, std::int64_t columns, std::int64_t nrhs) const;
  double seminormal(std::int64_t m, std::int64_t n, std::int64_t nrhs) const;
  double ormqr(std::int64_t m, std::int64_t n, std::int64_t nrhs, std::int64_t tile, bool distributed) const;
  // The polar decomposition of a square matrix of moderate condition, with its Hermitian factor.
  double polar(std::int64_t n, std::int64_t tile, std::int64_t depth) const;
  // To read and write a shard of `bytes` once more.
  double pass(double bytes) const { return 2 * bytes / machine_.memory_bytes; }
  double step() const { return machine_.step_seconds + exchange(); }
  // By the library's syevd, on one rank.
  double library_syevd(std::int64_t n, std::int64_t vectors, std::int64_t b) const;
  // `shared`: each rank keeps a part of the reflectors of bulge chasing, and sends it when it is needed.
  double syevd(std::int64_t n, std::int64_t vectors, std::int64_t b, bool shared) const;
  // The singular value decomposition of a square matrix by LAPACK, on one rank.
  double gesdd(std::int64_t n, std::int64_t vectors) const;

 private:
  double exchange() const;
  double spread(double bytes, double sources) const;
};

// cuSOLVERMg's: columns dealt to the GPUs of one process, and driven by one thread.
class CusolverMgCost : public CostModel {
 public:
  using CostModel::CostModel;

  double potrf(std::int64_t n) const;
  double potrs(std::int64_t n, std::int64_t nrhs) const;
  double potri(std::int64_t n) const;
  double gesv(std::int64_t n, std::int64_t nrhs) const;
  double syevd(std::int64_t n) const;  // eigenvectors or not
};

class GridCost : public CostModel {
 public:
  GridCost(Platform platform, ScalarType type, std::int64_t ranks, const Network& network);

  double potrf(std::int64_t n) const;
  double potrs(std::int64_t n, std::int64_t nrhs) const;
  double gesv(std::int64_t n, std::int64_t nrhs) const;
  double syevd(std::int64_t n, std::int64_t vectors) const;
  double geqrf(std::int64_t m, std::int64_t n) const;
  double polar(std::int64_t n) const;

 private:
  double broadcast(double bytes, double ranks, bool hosts) const;
  double along_column(double bytes) const;
  double along_row(double bytes) const;

  double rows_, columns_;  // of the grid
};

}  // namespace jaxmg
