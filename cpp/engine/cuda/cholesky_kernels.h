// Kernels of Cholesky factorisations, included by kernels.cu once for each scalar type with Scalar and JAXMG_NAME.

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
