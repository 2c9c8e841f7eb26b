// Kernels of all scalar types, included by kernels.cu once for each with Scalar, its Real and JAXMG_NAME.

extern "C" __global__ void __launch_bounds__(qr_threads, 1) JAXMG_NAME(geqrt)(const __grid_constant__ PanelQr q) {
  geqrt<Scalar>(q);
}

extern "C" __global__ void __launch_bounds__(qr_threads, 1) JAXMG_NAME(two_sided)(const __grid_constant__ TwoSided q) {
  form_two_sided<Scalar>(q);
}

extern "C" __global__ void __launch_bounds__(unit_lower_order) JAXMG_NAME(solve_unit_lower)(UnitLowerSolve solve) {
  solve_unit_lower<Scalar>(solve);
}

// The blocks on a multiprocessor are as many as registers allow without spilling.
extern "C" __global__ void __launch_bounds__(chase_threads, sizeof(Scalar) == 16 ? 1 : 2)
    JAXMG_NAME(chase_32)(const __grid_constant__ Chase a) {
  chase<Scalar, 32>(a);
}
extern "C" __global__ void __launch_bounds__(8 * 32, 1)
    JAXMG_NAME(form_diamonds_32)(const __grid_constant__ DiamondBatch a) {
  form_diamond<Scalar, 32>(a);
}
#ifndef JAXMG_ONE_BANDWIDTH
extern "C" __global__ void __launch_bounds__(chase_threads, 1) JAXMG_NAME(chase_64)(const __grid_constant__ Chase a) {
  chase<Scalar, 64>(a);
}
extern "C" __global__ void __launch_bounds__(8 * 64, 1)
    JAXMG_NAME(form_diamonds_64)(const __grid_constant__ DiamondBatch a) {
  form_diamond<Scalar, 64>(a);
}
#endif

extern "C" __global__ void __launch_bounds__(256)
    JAXMG_NAME(real_tridiagonal)(const Scalar* band, int ld, int n, Real* d, Real* e, Scalar* phases) {
  real_tridiagonal<Scalar>(band, ld, n, d, e, phases);
}

// See BackTransformation::merge. One grid row of blocks for each Q of order 4h.
extern "C" __global__ void JAXMG_NAME(merge_corners)(const Scalar* parts, Scalar* q, Scalar* y, int h) {
  const long long square = static_cast<long long>(h) * h;
  const Scalar* const a = parts + blockIdx.x * 16 * square;
  const Scalar* const d = a + 12 * square;
  q += blockIdx.x * 16 * square;
  y += blockIdx.x * 8 * square;
  for (int at = blockIdx.y * blockDim.x + threadIdx.x; at < square; at += gridDim.y * blockDim.x) {
    const int i = at % h, j = at / h, order = 4 * h, half = 2 * h;
    q[i + j * order] = a[i + j * half];
    q[i + (3 * h + j) * order] = Scalar{};
    q[3 * h + i + j * order] = Scalar{};
    q[3 * h + i + (3 * h + j) * order] = d[h + i + (h + j) * half];
    y[i + j * half] = a[h + i + j * half];
    y[i + (3 * h + j) * half] = Scalar{};
    y[h + i + j * half] = Scalar{};
    y[h + i + (3 * h + j) * half] = d[i + (h + j) * half];
  }
}

// A = diag(factors) A.
extern "C" __global__ void JAXMG_NAME(scale_rows)(const Scalar* factors, Scalar* a, long long ld, int rows,
                                                  int columns) {
  const long long total = static_cast<long long>(rows) * columns;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < total;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    const long long column = i / rows, row = i - column * rows;
    a[row + column * ld] = factors[row] * a[row + column * ld];
  }
}

// The upper triangle becomes the adjoint of the lower one, and the diagonal real. Each block transposes 32 x 32
// squares, a warp for a column.
extern "C" __global__ void JAXMG_NAME(mirror)(Scalar* a, long long ld, int n) {
  __shared__ Scalar square[32][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const long long squares = (n + 31) / 32;
  for (long long s = blockIdx.x; s < squares * squares; s += gridDim.x) {
    const int row = static_cast<int>(s % squares * 32), column = static_cast<int>(s / squares * 32);
    if (row < column) continue;
    for (int j = warp; j < 32; j += warps) {
      if (row + lane < n && column + j < n) square[j][lane] = a[row + lane + (column + j) * ld];
    }
    __syncthreads();
    for (int i = warp; i < 32; i += warps) {
      const int from = row + i, to = column + lane;  // A(to, from) = conj(A(from, to))
      if (from >= n || to > from) continue;
      Scalar value = conjugate(square[lane][i]);
      if (to == from) make_real(value);
      a[to + from * ld] = value;
    }
    __syncthreads();
  }
}

extern "C" __global__ void JAXMG_NAME(zero_below)(Scalar* a, long long ld, int n) {
  for (int j = blockIdx.x; j < n; j += gridDim.x) {
    for (int i = j + 1 + threadIdx.x; i < n; i += blockDim.x) a[i + j * ld] = Scalar{};
  }
}

extern "C" __global__ void __launch_bounds__(hermitian_threads)
    JAXMG_NAME(equilibrate)(const __grid_constant__ Equilibration p) {
  equilibrate<Scalar>(p);
}
