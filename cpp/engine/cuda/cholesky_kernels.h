// Kernels of Cholesky factorisations and of products with Hermitian matrices, included by kernels.cu once for each
// scalar type with Scalar and JAXMG_NAME.

extern "C" __global__ void __launch_bounds__(cholesky_threads<sizeof(Scalar)>, 1)
    JAXMG_NAME(potrf)(const CholeskyBlock block) {
  potrf<Scalar>(block);
}

// Thread blocks take as many rows as a tile has columns, or half as many.
extern "C" __global__ void __launch_bounds__(cholesky_threads<sizeof(Scalar)> + 32, 1)
    JAXMG_NAME(solve_right)(const RightSolve system) {
  solve_right<Scalar, cholesky_width<sizeof(Scalar)>>(system);
}
extern "C" __global__ void __launch_bounds__(cholesky_threads<sizeof(Scalar)> + 32, 1)
    JAXMG_NAME(solve_right_few)(const RightSolve system) {
  solve_right<Scalar, cholesky_width<sizeof(Scalar)> / 2>(system);
}

extern "C" __global__ void __launch_bounds__(hermitian_threads, 2)
    JAXMG_NAME(hermitian_sums)(const __grid_constant__ HermitianProduct p) {
  hermitian_sums<Scalar>(p);
}
extern "C" __global__ void __launch_bounds__(hermitian_threads)
    JAXMG_NAME(add_hermitian_sums)(const __grid_constant__ HermitianProduct p) {
  add_hermitian_sums<Scalar>(p);
}
