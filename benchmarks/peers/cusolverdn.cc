// cuSOLVERDn's potrf and potrs on one GPU.
#include <cusolverDn.h>

#include "test_system.h"

namespace {

template <class T>
int run(const Arguments& arguments) {
  const std::int64_t n = arguments.n, nrhs = arguments.nrhs, tile = std::min<std::int64_t>(n, 512);
  Timing timing;
  cusolverDnHandle_t handle = nullptr;
  cusolverDnParams_t parameters = nullptr;
  CHECK(cusolverDnCreate(&handle));
  CHECK(cusolverDnCreateParams(&parameters));
  const TestMatrix<T> source(n, tile);
  const auto rhs = right_hand_sides<T>(n, nrhs);
  T *a = nullptr, *b = nullptr;
  int* device_info = nullptr;
  CHECK(cudaMalloc(&a, static_cast<std::size_t>(n * n) * sizeof(T)));
  CHECK(cudaMalloc(&b, rhs.size() * sizeof(T)));
  CHECK(cudaMalloc(&device_info, sizeof(int)));

  constexpr auto type = data_type<T>();
  std::size_t device_size = 0, host_size = 0;
  CHECK(cusolverDnXpotrf_bufferSize(handle, parameters, CUBLAS_FILL_MODE_LOWER, n, type, a, n, type, &device_size,
                                    &host_size));
  void* device_work = nullptr;
  CHECK(cudaMalloc(&device_work, std::max<std::size_t>(device_size, 1)));
  std::vector<char> host_work(host_size);

  for (int repeat = 0; repeat <= arguments.repeats; ++repeat) {
    for (std::int64_t column = 0; column < n; column += tile) {
      source.fill(a + column * n, n, 0, column, n, std::min(tile, n - column));
    }
    CHECK(cudaMemcpy(b, rhs.data(), rhs.size() * sizeof(T), cudaMemcpyHostToDevice));
    CHECK(cudaDeviceSynchronize());
    const double begin = now();
    CHECK(cusolverDnXpotrf(handle, parameters, CUBLAS_FILL_MODE_LOWER, n, type, a, n, type, device_work, device_size,
                           host_work.data(), host_size, device_info));
    CHECK(cudaDeviceSynchronize());
    const double factored = now();
    CHECK(cusolverDnXpotrs(handle, parameters, CUBLAS_FILL_MODE_LOWER, n, nrhs, type, a, n, type, b, n, device_info));
    CHECK(cudaDeviceSynchronize());
    const double solved = now();
    if (repeat == 0) {
      timing.first = solved - begin;
    } else {
      timing.potrf.push_back(factored - begin);
      timing.potrs.push_back(solved - factored);
    }
  }
  std::vector<T> x(static_cast<std::size_t>(n));
  CHECK(cudaMemcpy(x.data(), b, x.size() * sizeof(T), cudaMemcpyDeviceToHost));
  timing.residual = relative_residual(n, x.data(), rhs.data());
  timing.tile = n;
  print({timing});
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
