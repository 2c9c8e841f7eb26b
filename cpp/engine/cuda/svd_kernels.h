// Kernels of polar and singular value decompositions, included by kernels.cu once for each type with Real and
// JAXMG_NAME. They take a complex matrix as a real one of twice the rows, of `reals` reals for each scalar (svd_ops.h).

extern "C" __global__ void JAXMG_NAME(scale_and_shift)(Real alpha, const Real* a, long long a_ld, Real shift, Real* b,
                                                       long long b_ld, int rows, int columns, int reals) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      const Real x = alpha * a[i + j * a_ld];
      b[i + j * b_ld] = i == j * reals ? x + shift : x;
    }
  }
}

extern "C" __global__ void JAXMG_NAME(combine)(Real alpha, const Real* a, long long a_ld, Real beta, Real* b,
                                               long long b_ld, int rows, int columns) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      b[i + j * b_ld] = alpha * a[i + j * a_ld] + beta * b[i + j * b_ld];
    }
  }
}

// A block for each column; sums are formed in a fixed order.
extern "C" __global__ void JAXMG_NAME(measure_columns)(const Real* a, long long ld, int rows, int columns, int reals,
                                                       Real* diagonal, Real* below) {
  const BlockLanes lanes;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    const Real* const column = a + j * ld;
    Real sum = 0;
    for (int i = (j + 1) * reals + lanes.first; i < rows; i += lanes.stride) sum += column[i] * column[i];
    sum = lanes.sum(sum);
    if (threadIdx.x == 0) {
      diagonal[j] = column[j * reals];
      below[j] = sum;
    }
  }
}

extern "C" __global__ void JAXMG_NAME(add_noise)(Real size, long long row, long long column, Real* a, long long ld,
                                                 int rows, int columns, int reals) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      a[i + j * ld] += size * noise<Real>(row + i / reals, column + j, i % reals);
    }
  }
}
