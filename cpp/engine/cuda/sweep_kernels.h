// Kernels of triangular solves, included by kernels.cu once for each scalar type with Scalar and JAXMG_NAME: by
// columns, and by dot products with columns. JAXMG_SWEEP_MANY adds kernels for several right-hand sides at once.

extern "C" __global__ void __launch_bounds__(sweep_threads, 1)
    JAXMG_NAME(sweep_columns)(const __grid_constant__ TriangularSweep p) {
  triangular_sweep<Scalar, 1, false>(p);
}
extern "C" __global__ void __launch_bounds__(sweep_threads, 1)
    JAXMG_NAME(sweep_dots)(const __grid_constant__ TriangularSweep p) {
  triangular_sweep<Scalar, 1, true>(p);
}

#ifdef JAXMG_SWEEP_MANY
extern "C" __global__ void __launch_bounds__(sweep_threads, 1)
    JAXMG_NAME(sweep_columns_many)(const __grid_constant__ TriangularSweep p) {
  triangular_sweep<Scalar, sweep_many, false>(p);
}
extern "C" __global__ void __launch_bounds__(sweep_threads, 1)
    JAXMG_NAME(sweep_dots_many)(const __grid_constant__ TriangularSweep p) {
  triangular_sweep<Scalar, sweep_many, true>(p);
}
#endif
