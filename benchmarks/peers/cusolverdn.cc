// cuSOLVERDn's routines on one GPU.
#include <cusolverDn.h>

#include "cuda_system.h"
#include "routines.h"

namespace {

// potri is of the older interface: a function for each type, sizes of type int that count elements.
template <class T>
struct Potri;
template <>
struct Potri<float> {
  using type = float;
  static constexpr auto size = cusolverDnSpotri_bufferSize;
  static constexpr auto run = cusolverDnSpotri;
};
template <>
struct Potri<double> {
  using type = double;
  static constexpr auto size = cusolverDnDpotri_bufferSize;
  static constexpr auto run = cusolverDnDpotri;
};
template <>
struct Potri<std::complex<float>> {
  using type = cuComplex;
  static constexpr auto size = cusolverDnCpotri_bufferSize;
  static constexpr auto run = cusolverDnCpotri;
};
template <>
struct Potri<std::complex<double>> {
  using type = cuDoubleComplex;
  static constexpr auto size = cusolverDnZpotri_bufferSize;
  static constexpr auto run = cusolverDnZpotri;
};

// Nothing is freed: the process ends with its one problem.
template <class T>
class Solver {
 public:
  explicit Solver(const Arguments& arguments)
      : n_(arguments.n),
        nrhs_(arguments.nrhs),
        inverse_(arguments.routine == "potri"),
        width_(std::min<std::int64_t>(n_, 512)),
        source_(arguments.diagonals(), n_, width_) {
    CHECK(cusolverDnCreate(&handle_));
    CHECK(cusolverDnCreateParams(&parameters_));
    CHECK(cudaMalloc(&a_, static_cast<std::size_t>(n_ * n_) * sizeof(T)));
    CHECK(cudaMalloc(&b_, static_cast<std::size_t>(std::max<std::int64_t>(1, n_ * nrhs_)) * sizeof(T)));
    CHECK(cudaMalloc(&values_, static_cast<std::size_t>(n_) * sizeof(R)));
    CHECK(cudaMalloc(&device_info_, sizeof(int)));
  }

  std::int64_t tile() const { return n_; }

  Step potrf() {
    std::size_t device = 0, host = 0;
    CHECK(cusolverDnXpotrf_bufferSize(handle_, parameters_, lower, n_, type, a_, n_, type, &device, &host));
    reserve(device, host);
    return {"potrf", [this] {
              CHECK(cusolverDnXpotrf(handle_, parameters_, lower, n_, type, a_, n_, type, device_work_, device_size_,
                                     host_work_.data(), host_size_, device_info_));
            }};
  }

  Step potrs() {
    return {"potrs", [this] {
              CHECK(cusolverDnXpotrs(handle_, parameters_, lower, n_, nrhs_, type, a_, n_, type, b_, n_, device_info_));
            }};
  }

  Step potri() {
    using Element = typename Potri<T>::type;
    const int n = static_cast<int>(n_);
    int size = 0;
    CHECK(Potri<T>::size(handle_, lower, n, reinterpret_cast<Element*>(a_), n, &size));
    reserve(static_cast<std::size_t>(size) * sizeof(T), 0);
    return {"potri", [this, n, size] {
              CHECK(Potri<T>::run(handle_, lower, n, reinterpret_cast<Element*>(a_), n,
                                  static_cast<Element*>(device_work_), size, device_info_));
            }};
  }

  Step getrf() {
    std::size_t device = 0, host = 0;
    CHECK(cudaMalloc(&pivots_, static_cast<std::size_t>(n_) * sizeof(std::int64_t)));
    CHECK(cusolverDnXgetrf_bufferSize(handle_, parameters_, n_, n_, type, a_, n_, type, &device, &host));
    reserve(device, host);
    return {"getrf", [this] {
              CHECK(cusolverDnXgetrf(handle_, parameters_, n_, n_, type, a_, n_, pivots_, type, device_work_,
                                     device_size_, host_work_.data(), host_size_, device_info_));
            }};
  }

  Step getrs() {
    return {"getrs", [this] {
              CHECK(cusolverDnXgetrs(handle_, parameters_, CUBLAS_OP_N, n_, nrhs_, type, a_, n_, pivots_, type, b_, n_,
                                     device_info_));
            }};
  }

  Step geqrf() {
    std::size_t device = 0, host = 0;
    CHECK(cudaMalloc(&tau_, static_cast<std::size_t>(n_) * sizeof(T)));
    CHECK(cusolverDnXgeqrf_bufferSize(handle_, parameters_, n_, n_, type, a_, n_, type, tau_, type, &device, &host));
    reserve(device, host);
    return {"geqrf", [this] {
              CHECK(cusolverDnXgeqrf(handle_, parameters_, n_, n_, type, a_, n_, type, tau_, type, device_work_,
                                     device_size_, host_work_.data(), host_size_, device_info_));
            }};
  }

  Step syevd(bool vectors) {
    const cusolverEigMode_t job = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
    std::size_t device = 0, host = 0;
    CHECK(cusolverDnXsyevd_bufferSize(handle_, parameters_, job, lower, n_, type, a_, n_, data_type<R>(), values_, type,
                                      &device, &host));
    reserve(device, host);
    return {"syevd", [this, job] {
              CHECK(cusolverDnXsyevd(handle_, parameters_, job, lower, n_, type, a_, n_, data_type<R>(), values_, type,
                                     device_work_, device_size_, host_work_.data(), host_size_, device_info_));
            }};
  }

  void allocate() {
    CHECK(cudaMalloc(&device_work_, std::max<std::size_t>(1, device_size_)));
    host_work_.resize(host_size_);
  }

  void fill_matrix() {
    for (std::int64_t column = 0; column < n_; column += width_) {
      source_.fill(a_ + column * n_, n_, 0, column, n_, std::min(width_, n_ - column));
    }
  }

  void fill_right_hand_sides(const std::vector<T>& rhs) {
    CHECK(cudaMemcpy(b_, rhs.data(), rhs.size() * sizeof(T), cudaMemcpyHostToDevice));
  }

  double synchronize() {
    CHECK(cudaDeviceSynchronize());
    return now();
  }

  std::vector<T> column(std::int64_t k) const {
    return column_of<T>(n_, k, inverse_, [this](auto&& visit) { visit(a_, std::int64_t{0}, n_); });
  }

  std::vector<T> solution() const { return download(b_, n_); }

  std::vector<double> eigenvalues() const {
    const std::vector<R> values = download(values_, n_);
    return {values.begin(), values.end()};
  }

 private:
  using R = typename Real<T>::type;
  static constexpr auto lower = CUBLAS_FILL_MODE_LOWER;
  static constexpr auto type = data_type<T>();

  void reserve(std::size_t device, std::size_t host) {
    device_size_ = std::max(device_size_, device);
    host_size_ = std::max(host_size_, host);
  }

  std::int64_t n_, nrhs_;
  bool inverse_;
  std::int64_t width_;
  TestMatrix<T> source_;
  cusolverDnHandle_t handle_ = nullptr;
  cusolverDnParams_t parameters_ = nullptr;
  T *a_ = nullptr, *b_ = nullptr, *tau_ = nullptr;
  R* values_ = nullptr;
  std::int64_t* pivots_ = nullptr;
  int* device_info_ = nullptr;
  std::size_t device_size_ = 0, host_size_ = 0;
  void* device_work_ = nullptr;
  std::vector<char> host_work_;
};

std::string library() {
  int version = 0;  // 1000 major + 100 minor + patch
  CHECK(cusolverGetVersion(&version));
  return "cuSOLVERDn " + dotted(version / 1000, version / 100 % 10, version % 100);
}

template <class T>
int run(const Arguments& arguments) {
  Solver<T> solver(arguments);
  Outcome outcome = measure<T>(arguments, solver);
  outcome.library = library();
  print(outcome);
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
