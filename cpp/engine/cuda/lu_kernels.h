// Kernels of LU factorisations, included by kernels.cu once for each scalar type with Scalar and JAXMG_NAME.

extern "C" __global__ void __launch_bounds__(lu_threads, 1) JAXMG_NAME(getrf)(PanelLu panel) { getrf<Scalar>(panel); }

// Rows that interchanges move, in columns of A from its row 0 on; see move_rows().
extern "C" __global__ void __launch_bounds__(interchange_chunk)
    JAXMG_NAME(interchange)(int undone, const RowMoves* moves, int count, Scalar* a, long long ld, int columns) {
  constexpr int batch = 4;
  for (int j = blockIdx.x * batch; j < columns; j += gridDim.x * batch) {
    move_rows<Scalar, batch>(undone != 0, moves, count, columns - j,
                             [&](int i, int k) -> Scalar& { return a[i + (j + k) * ld]; });
  }
}

// Interchanges in the first `columns` columns of a matrix in chunks of rows, of `width` columns, whose first row has
// number `row`.
extern "C" __global__ void __launch_bounds__(interchange_chunk)
    JAXMG_NAME(interchange_chunks)(const RowMoves* moves, int count, int row, Scalar* a, int rows, int width, int chunk,
                                   int columns) {
  constexpr int batch = 4;
  for (int j = blockIdx.x * batch; j < columns; j += gridDim.x * batch) {
    move_rows<Scalar, batch>(false, moves, count, columns - j, [&](int i, int k) -> Scalar& {
      const int top = (i - row) / chunk * chunk, left = rows - top, ld = left < chunk ? left : chunk;
      return a[static_cast<long long>(top) * width + (i - row - top) + static_cast<long long>(j + k) * ld];
    });
  }
}

// Interchanges by the pivots of columns [first, first + count) of A, whose first row has number `row`, in all other
// columns. Every block plans them.
extern "C" __global__ void __launch_bounds__(interchange_chunk)
    JAXMG_NAME(interchange_beside)(const int* pivots, int row, int first, int count, Scalar* a, long long ld, int rows,
                                   int columns) {
  constexpr int batch = 4;
  const RowMoves moves = plan_moves(pivots + first, row + first, count, row + rows);
  const int last = first + count, left = (first + batch - 1) / batch, right = (columns - last + batch - 1) / batch;
  for (int i = blockIdx.x; i < left + right; i += gridDim.x) {
    const int j = i < left ? i * batch : last + (i - left) * batch, end = i < left ? first : columns;
    move_rows<Scalar, batch>(false, moves, end - j, [&](int i, int k) -> Scalar& { return a[i - row + (j + k) * ld]; });
  }
}

// Row i of B is row origins[i] of A.
extern "C" __global__ void JAXMG_NAME(gather_rows)(const Scalar* a, long long lda, const int* origins, Scalar* b,
                                                   long long ldb, int rows, int columns) {
  for (int j = blockIdx.y; j < columns; j += gridDim.y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < rows; i += gridDim.x * blockDim.x) {
      b[i + j * ldb] = a[origins[i] + j * lda];
    }
  }
}

// Column j of B is column places[j] of A.
extern "C" __global__ void JAXMG_NAME(gather_columns)(const Scalar* a, long long lda, const int* places, Scalar* b,
                                                      long long ldb, int rows, int columns) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    const Scalar* const from = a + places[j] * lda;
    for (int i = threadIdx.x; i < rows; i += blockDim.x) b[i + j * ldb] = from[i];
  }
}

// Lowers *info to row + 1 + the index of the first zero among n numbers. One block.
extern "C" __global__ void JAXMG_NAME(check_pivots)(const Scalar* a, long long stride, int n, int row, int* info) {
  __shared__ int first;
  if (threadIdx.x == 0) first = n;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const Scalar x = a[i * stride];
    if (real_part(x) == 0 && imaginary_part(x) == 0) {
      atomicMin(&first, i);
      break;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0 && first < n && row + first + 1 < *info) *info = row + first + 1;
}

// Lowers *first to the first column of A with an element that is not finite.
extern "C" __global__ void JAXMG_NAME(find_not_finite)(const Scalar* a, long long ld, int rows, int columns,
                                                       int* first) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < rows; i += gridDim.y * blockDim.x) {
      const Scalar x = a[i + j * ld];
      if (!isfinite(real_part(x)) || !isfinite(imaginary_part(x))) atomicMin(first, j);
    }
  }
}

// Makes NaN of n numbers, from *first on. One block.
extern "C" __global__ void JAXMG_NAME(spread_not_finite)(const int* first, Scalar* a, long long stride, int n) {
  for (long long i = *first + static_cast<long long>(threadIdx.x); i < n; i += blockDim.x) {
    const DeviceReal<Scalar> zero = 0;
    a[i * stride] = (zero / zero) * a[i * stride];
  }
}

extern "C" __global__ void JAXMG_NAME(conjugate)(Scalar* a, long long ld, int rows, int columns) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < rows; i += gridDim.y * blockDim.x) {
      a[i + j * ld] = conjugate(a[i + j * ld]);
    }
  }
}
