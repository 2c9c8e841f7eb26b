// Kernels of real numbers, included by kernels.cu once for each type with Real and JAXMG_NAME. Most take a complex
// matrix as a real one of twice the rows.

// X = X - sum of terms.
extern "C" __global__ void JAXMG_NAME(subtract)(const __grid_constant__ Subtraction s) {
  const long long total = static_cast<long long>(s.rows) * s.columns;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < total;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    const long long column = i / s.rows, row = i - column * s.rows;
    Real sum = 0;
    for (int t = 0; t < s.count; ++t) sum += static_cast<const Real*>(s.terms[t])[row + column * s.term_ld[t]];
    static_cast<Real*>(s.x)[row + column * s.x_ld] -= sum;
  }
}

// The diagonal becomes 1; `stride` reals lie between its elements.
extern "C" __global__ void JAXMG_NAME(set_diagonal)(Real* a, long long stride, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) a[i * stride] = 1;
}

// One block lowers *info to row + the order of the first failing minor. It reads potrf's own info from *failed, and the
// factor's diagonal with `stride` reals between its elements. Not every potrf reports NaN or infinite pivots, but they
// appear on the diagonal.
extern "C" __global__ void JAXMG_NAME(check_factor)(const Real* diagonal, long long stride, int n, int row,
                                                    const int* failed, int* info) {
  __shared__ int first;
  if (threadIdx.x == 0) first = *failed > 0 ? *failed : n + 1;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const Real pivot = diagonal[i * stride];
    if (!(pivot > 0) || !isfinite(pivot)) atomicMin(&first, i + 1);
  }
  __syncthreads();
  if (threadIdx.x == 0 && first <= n && row + first < *info) *info = row + first;
}

// The same for the diagonal of a whole factor, of which `rank` holds `shard` tile columns. A column has `ld` reals, and
// an element has `reals`.
extern "C" __global__ void JAXMG_NAME(check_diagonal)(const Real* columns, long long ld, int reals, int n, int shard,
                                                      int tile, int full, int ranks, int rank, int* info) {
  for (int local = blockIdx.x * blockDim.x + threadIdx.x; local < shard; local += gridDim.x * blockDim.x) {
    const int slot = local / tile, dealt = slot < full ? slot * ranks + rank : 0;
    const int first = slot < full ? dealt / full * shard + dealt % full * tile : rank * shard + full * tile;
    const int row = first + local - slot * tile;
    if (row >= n) continue;
    const Real pivot = columns[row * static_cast<long long>(reals) + local * ld];
    if (!(pivot > 0) || !isfinite(pivot)) atomicMin(info, row + 1);
  }
}

// See StatusOps.
extern "C" __global__ void JAXMG_NAME(conclude)(const int* info, int ranks, int none, Real* x, long long count,
                                                int* status) {
  int first = none;
  for (int r = 0; r < ranks; ++r) first = info[r] < first ? info[r] : first;
  if (blockIdx.x == 0 && threadIdx.x == 0) *status = first == none ? 0 : first;
  if (first == none) return;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    x[i] = static_cast<Real>(__longlong_as_double(0x7ff8000000000000LL));
  }
}

// Ones on the diagonal, zeros above it; a scalar is one real number or two.
extern "C" __global__ void JAXMG_NAME(unit_lower)(Real* a, long long ld, int rows, int columns, int reals) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < min(j + 1, rows) * reals; i += blockDim.x) {
      a[i + j * ld] = static_cast<Real>(i == j * reals);
    }
  }
}

// *norm = max(*norm, moduli of A). Nonnegative numbers are ordered like their bit patterns.
extern "C" __global__ void JAXMG_NAME(largest)(const Real* a, long long ld, int rows, int columns, Real* norm) {
  Real most = 0;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      const Real x = fabs(a[i + j * ld]);
      if (!(x <= most)) most = x - x == 0 ? x : static_cast<Real>(__longlong_as_double(0x7ff0000000000000LL));
    }
  }
  for (int mask = 16; mask > 0; mask /= 2) {
    const Real other = shuffle_xor(most, mask);
    if (other > most) most = other;
  }
  if (threadIdx.x % 32 == 0 && most > 0) atomic_largest(norm, most);
}

// See ScalingOps.
extern "C" __global__ void JAXMG_NAME(choose_scale)(const Real* norms, int ranks, Real* scale, int failure, int* info) {
  Real norm = 0;
  for (int r = 0; r < ranks; ++r) norm = norms[r] > norm ? norms[r] : norm;
  *scale = scale_for(norm);
  if (*scale != 0) return;
  if (info == nullptr) {
    *scale = 1;
  } else {
    *info = failure;
  }
}

extern "C" __global__ void JAXMG_NAME(multiply)(const Real* scale, Real* a, long long ld, int rows, int columns) {
  const Real by = *scale;
  if (by == 1) return;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) a[i + j * ld] = by == 0 ? 0 : by * a[i + j * ld];
  }
}

// A scalar is one real number or two; `rows` counts real numbers, `row` scalars.
extern "C" __global__ void JAXMG_NAME(divide_upper)(const Real* scale, Real* a, long long ld, int rows, int columns,
                                                    int row, int reals) {
  const Real by = *scale;
  if (by == 1) return;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    const long long end = (static_cast<long long>(row) + j + 1) * reals;
    for (int i = threadIdx.x; i < rows && i < end; i += blockDim.x) a[i + j * ld] /= by;
  }
}

extern "C" __global__ void JAXMG_NAME(add_equilibration_sums)(const __grid_constant__ Equilibration p) {
  add_equilibration_sums<Real>(p);
}
