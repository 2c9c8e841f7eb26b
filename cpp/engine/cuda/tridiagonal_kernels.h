// Kernels of symmetric tridiagonal eigenproblems (TridiagonalOps): the arithmetic of secular.h and tridiagonal.h.
// Included by kernels.cu once for each type with Real and JAXMG_NAME.

// A warp for each leaf, from number `leaf` on.
extern "C" __global__ void __launch_bounds__(32)
    JAXMG_NAME(solve_leaves)(Halving leaves, Index leaf, Real* d, const Real* e, Index row, Index rows, Real* q,
                             Index ldq, int* info) {
  constexpr int most = largest_leaf;
  __shared__ Real a[most][most + 1], z[most][most + 1], cosine[most / 2], sine[most / 2];
  __shared__ int first[most / 2], second[most / 2], place[most];
  const int lane = static_cast<int>(threadIdx.x);
  const Index begin = leaves.begin(leaf + blockIdx.x);
  const int n = static_cast<int>(leaves.end(leaf + blockIdx.x) - begin), players = n + n % 2;

  Real largest = 0;
  for (int j = 0; j < n; ++j) {
    const Real x = lane == j                   ? d[begin + j]
                   : lane == j + 1 && lane < n ? e[begin + j]
                   : lane + 1 == j             ? e[begin + lane]
                                               : Real(0);
    a[lane][j] = x;
    z[lane][j] = lane == j ? Real(1) : Real(0);
    largest = fabs(x) > largest ? fabs(x) : largest;
  }
  for (int other = 16; other > 0; other /= 2) {
    const Real x = __shfl_xor_sync(whole_warp, largest, other);
    largest = x > largest ? x : largest;
  }
  __syncwarp();

  bool turned = true;
  for (int sweep = 0; sweep < jacobi_sweeps && turned; ++sweep) {
    turned = false;
    for (int t = 0; t + 1 < players; ++t) {
      bool turns = false;
      if (lane < players / 2) {
        const JacobiPair m = jacobi_pair(players, t, lane);
        Rotation<Real> r;
        if (m.q < n) r = jacobi_rotation(a[m.p][m.p], a[m.p][m.q], a[m.q][m.q], jacobi_negligible(largest));
        first[lane] = m.p;
        second[lane] = m.q;
        cosine[lane] = r.c;
        sine[lane] = r.s;
        turns = r.turns;
      }
      if (!__any_sync(whole_warp, turns)) continue;
      turned = true;
      __syncwarp();
      // All columns of A and Z, a row for each thread; then all rows of A.
      for (int k = 0; k < players / 2 && lane < n; ++k) {
        const int p = first[k], s = second[k];
        const Rotation<Real> r{cosine[k], sine[k], true};
        if (s >= n) continue;
        rotate(r, a[lane][p], a[lane][s]);
        rotate(r, z[lane][p], z[lane][s]);
      }
      __syncwarp();
      for (int k = 0; k < players / 2 && lane < n; ++k) {
        const int p = first[k], s = second[k];
        const Rotation<Real> r{cosine[k], sine[k], true};
        if (s < n) rotate(r, a[p][lane], a[s][lane]);
      }
      __syncwarp();
      // Set to zero, since rounding errors here could prevent convergence.
      if (turns) a[first[lane]][second[lane]] = a[second[lane]][first[lane]] = 0;
      __syncwarp();
    }
  }
  if (turned && lane == 0) atomicMin(info, static_cast<int>(begin) + 1);

  if (lane < n) {
    const Real value = a[lane][lane];
    int smaller = 0;
    for (int j = 0; j < n; ++j) smaller += a[j][j] < value || (a[j][j] == value && j < lane);
    d[begin + smaller] = value;
    place[smaller] = lane;
  }
  __syncwarp();
  const Index i = begin + lane - row;
  if (lane < n && i >= 0 && i < rows) {
    for (int j = 0; j < n; ++j) q[i + (begin + j) * ldq] = z[lane][place[j]];
  }
}

extern "C" __global__ void JAXMG_NAME(take_cut_rows)(Halving merges, Index row, const Real* q, Index ldq, Index first,
                                                     Index count, Real* z) {
  const Index i = first + blockIdx.x * static_cast<Index>(blockDim.x) + threadIdx.x;
  if (i < first + count) z[i] = q[merges.cut_row(i) - row + i * ldq];
}

// A chain for each block in x.
extern "C" __global__ void JAXMG_NAME(rotate_columns)(Halving merges, const __grid_constant__ ColumnChains<Real> chains,
                                                      Index row, Index rows, const Real* from, Index ld_from, Real* to,
                                                      Index ld_to) {
  const int begin = chains.begin[blockIdx.x], end = chains.begin[blockIdx.x + 1];
  const Index i = row_of_thread(merges, merges.part_of(chains.source[begin]), row, rows);
  if (i < 0) return;
  Real running = from[i + chains.source[begin] * ld_from];
#pragma unroll 4
  for (int k = begin; k < end - 1; ++k) {
    const Real c = chains.cosine[k], s = chains.sine[k], next = from[i + chains.source[k + 1] * ld_from];
    to[i + chains.target[k] * ld_to] = c * running + s * next;
    running = c * next - s * running;
  }
  to[i + chains.target[end - 1] * ld_to] = running;
}

// Finds the root, or copies the deflated eigenvalue, with the number of this warp.
__device__ inline void find_root(const MergeLevel<Real>& level, Index first, Index count, int* info) {
  const NumberOfWarp at(level.merges, first);
  if (at.i >= first + count) return;
  const int kept = level.kept[at.part];
  const Real* const d = level.d + at.begin;
  const bool leader = threadIdx.x % 32 == 0;
  if (at.number >= kept) {
    if (leader) level.value[at.i] = d[at.number];
    return;
  }
  const Root<Real> root = secular_root(kept, d, level.z + at.begin, level.rho[at.part], at.number, WarpLanes{});
  if (!leader) return;
  level.origin[at.i] = root.origin;
  level.tau[at.i] = root.tau;
  level.value[at.i] = d[root.origin] + root.tau;
  if (!root.converged) atomicMin(info, static_cast<int>(at.i) + 1);
}

extern "C" __global__ void __launch_bounds__(128)
    JAXMG_NAME(solve_secular)(const __grid_constant__ MergeLevel<Real> level, Index first, Index count, int* info) {
  find_root(level, first, count, info);
}

extern "C" __global__ void __launch_bounds__(128)
    JAXMG_NAME(adapt_weights)(const __grid_constant__ MergeLevel<Real> level, Index first, Index count) {
  const NumberOfWarp at(level.merges, first);
  if (at.i >= first + count) return;
  const int kept = level.kept[at.part];
  if (at.number >= kept) return;
  const Real zhat = secular_weight(kept, level.d + at.begin, level.z + at.begin, level.rho[at.part],
                                   level.origin + at.begin, level.tau + at.begin, at.number, WarpLanes{});
  if (threadIdx.x % 32 == 0) level.zhat[at.i] = zhat;
}

// A column for each block in x, from `column` on.
extern "C" __global__ void JAXMG_NAME(keep_deflated)(const __grid_constant__ MergeLevel<Real> level, Index column,
                                                     Index row, Index rows, const Real* from, Index ld_from, Real* to,
                                                     Index ld_to) {
  const Index j = column + blockIdx.x, part = level.merges.part_of(j);
  const Index i = row_of_thread(level.merges, part, row, rows);
  if (i < 0) return;
  const bool kept = j - level.merges.begin(part) < level.kept[part];
  to[i + j * ld_to] = kept ? Real(0) : from[i + j * ld_from];
}

// A column of S for each block.
extern "C" __global__ void JAXMG_NAME(secular_vectors)(const __grid_constant__ MergeLevel<Real> level, Index first,
                                                       Real* s, Index lds) {
  const Index i = first + blockIdx.x, part = level.merges.part_of(i), begin = level.merges.begin(part);
  const int kept = level.kept[part];
  if (i - begin >= kept) return;
  const Real *const d = level.d + begin, *const zhat = level.zhat + begin;
  const int* const order = level.order + begin;
  const int origin = level.origin[i];
  const Real tau = level.tau[i];
  const Real norm = secular_norm(kept, d, zhat, origin, tau, BlockLanes{});
  Real* const column = s + blockIdx.x * lds;
  for (int p = threadIdx.x; p < kept; p += blockDim.x) {
    const int j = order[p];
    column[p] = zhat[j] / pole_distance(d, j, origin, tau) / norm;
  }
}

constexpr int bisection_points = 4;
constexpr int bisection_tile = 512;

// Four threads per eigenvalue count at four points, which divide its interval into fifths. All counts of a block read
// the matrix together.
extern "C" __global__ void __launch_bounds__(128)
    JAXMG_NAME(bisect)(Index n, const Real* d, const Real* squares, Real low, Real high, Index first, Index count,
                       Real* w, Index stride) {
  __shared__ TridiagonalRow<Real> row[bisection_tile];
  constexpr int steps = sizeof(Real) == 8 ? 25 : 12;  // 5^steps is 2 to the power of bisection_steps or more
  const int point = threadIdx.x % bisection_points;
  const Index at = (blockIdx.x * static_cast<Index>(blockDim.x) + threadIdx.x) / bisection_points;
  const Real top = high;
  for (int step = 0; step < steps; ++step) {
    const Real fifth = (high - low) / (bisection_points + 1), x = low + fifth * static_cast<Real>(point + 1);
    SturmCount<Real> minors;
    for (Index tile = 0; tile < n; tile += bisection_tile) {
      const int left = static_cast<int>(n - tile < bisection_tile ? n - tile : bisection_tile);
      const int rows = (left + minors.rows - 1) / minors.rows * minors.rows;
      __syncthreads();
      // Rows beyond the matrix have positive pivots.
      for (int i = threadIdx.x; i < rows; i += blockDim.x) {
        row[i].d = i < left ? d[tile + i] : top + 1;
        row[i].square = i < left && tile + i > 0 ? squares[tile + i - 1] : Real(0);
      }
      __syncthreads();
      for (int i = 0; i < rows; i += minors.rows) minors.count(row + i, x);
    }
    // The eigenvalue lies between the first point whose count exceeds its number, and the point before.
    const unsigned left = __ballot_sync(whole_warp, minors.negative() > first + at) >> (threadIdx.x % 32 - point);
    const unsigned own = left & ((1u << bisection_points) - 1);
    const int before = own == 0 ? bisection_points : __ffs(static_cast<int>(own)) - 1;
    const Real bottom = low;
    if (before > 0) low = bottom + fifth * static_cast<Real>(before);
    if (before < bisection_points) high = bottom + fifth * static_cast<Real>(before + 1);
  }
  if (point == 0 && at < count) w[at * stride] = low + (high - low) / 2;
}

// Real numbers become the real parts of complex ones.
extern "C" __global__ void JAXMG_NAME(widen)(const Real* from, Index ld_from, Index rows, Index columns, Real* to,
                                             Index ld_to) {
  for (Index i = blockIdx.x * static_cast<Index>(blockDim.x) + threadIdx.x; i < rows * columns;
       i += static_cast<Index>(gridDim.x) * blockDim.x) {
    const Index column = i / rows, row = i - column * rows;
    Real* const scalar = to + 2 * (row + column * ld_to);
    scalar[0] = from[row + column * ld_from];
    scalar[1] = 0;
  }
}
