// Kernels of tall matrices, included by kernels.cu once for each scalar type with Scalar and JAXMG_NAME.

extern "C" __global__ void __launch_bounds__(row_pass_threads, 1)
    JAXMG_NAME(residual_products_1)(const __grid_constant__ RowPass p) {
  row_pass<Scalar, 1, 8>(p);
}
extern "C" __global__ void __launch_bounds__(row_pass_threads, 1)
    JAXMG_NAME(residual_products_4)(const __grid_constant__ RowPass p) {
  row_pass<Scalar, 4, sizeof(Scalar) == 4 ? 4 : 2>(p);
}

extern "C" __global__ void __launch_bounds__(256)
    JAXMG_NAME(add_sums)(const Scalar* sums, int blocks, int n, int columns, Scalar* g, long long ldg) {
  add_sums<Scalar>(sums, blocks, n, columns, g, ldg);
}
