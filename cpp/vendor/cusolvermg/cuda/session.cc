#include "vendor/cusolvermg/cuda/session.h"

#include <cusolverDn.h>
#include <dlfcn.h>

#include <string>

#include "core/error.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"

#define JAXMG_TEXT(number) JAXMG_TEXT_OF(number)
#define JAXMG_TEXT_OF(number) #number

namespace jaxmg::cuda {
namespace {

constexpr const char* library_name = "libcusolverMg.so." JAXMG_TEXT(CUSOLVER_VER_MAJOR);
constexpr auto lower = CUBLAS_FILL_MODE_LOWER;

template <class Function>
void find(void* library, const char* name, Function& function) {
  void* const found = dlsym(library, name);
  if (found == nullptr) throw Error(ErrorCode::invalid_argument, std::string(library_name) + " has no " + name);
  function = reinterpret_cast<Function>(found);
}

CusolverMg load() {
  // The library that Python has loaded, or else one on the system's search path.
  void* const library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = dlerror();
    throw Error(ErrorCode::invalid_argument,
                std::string("cuSOLVERMg cannot be loaded: ") + (why == nullptr ? "" : why));
  }
  CusolverMg functions{};
#define JAXMG_FIND(function, name) find(library, "cusolverMg" #name, functions.function);
  JAXMG_CUSOLVERMG(JAXMG_FIND)
#undef JAXMG_FIND
  return functions;
}

cudaDataType real_type(ScalarType type) {
  return type == ScalarType::f32 || type == ScalarType::c64 ? CUDA_R_32F : CUDA_R_64F;
}

cusolverEigMode_t job(bool vectors) { return vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR; }

int order(const DealtColumns& a) { return checked_int(a.rows, "n"); }
int right_hand_sides(const DealtColumns& b) { return checked_int(b.columns, "nrhs"); }

class Description {
 public:
  Description(cudaLibMgGrid_t grid, const DealtColumns& a) {
    JAXMG_CHECK(CusolverMg::instance().create_matrix_desc(&description_, a.rows, a.columns, a.rows, a.block,
                                                          data_type(a.type), grid));
  }
  ~Description() { CusolverMg::instance().destroy_matrix_desc(description_); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  cudaLibMgMatrixDesc_t get() const { return description_; }

 private:
  cudaLibMgMatrixDesc_t description_ = nullptr;
};

class CurrentDevice {
 public:
  CurrentDevice() { JAXMG_CHECK(cudaGetDevice(&device_)); }
  ~CurrentDevice() { cudaSetDevice(device_); }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int device_ = 0;
};

}  // namespace

const CusolverMg& CusolverMg::instance() {
  static const CusolverMg functions = load();
  return functions;
}

int CusolverMg::version() {
  int version = 0;
  JAXMG_CHECK(cusolverGetVersion(&version));  // 1000 major + 100 minor + patch
  return version / 1000 * 10000 + version % 1000;
}

CusolverMgSession::~CusolverMgSession() {
  if (grid_ != nullptr) CusolverMg::instance().destroy_grid(grid_);
  if (handle_ != nullptr) CusolverMg::instance().destroy(handle_);
}

void CusolverMgSession::open(const std::vector<int>& devices) {
  if (grid_ != nullptr) return;
  const CusolverMg& mg = CusolverMg::instance();
  const CurrentDevice current;
  devices_ = devices;
  const int count = checked_int(static_cast<std::int64_t>(devices_.size()), "devices");
  if (handle_ == nullptr) JAXMG_CHECK(mg.create(&handle_));
  JAXMG_CHECK(mg.device_select(handle_, count, devices_.data()));
  JAXMG_CHECK(mg.create_device_grid(&grid_, 1, count, devices_.data(), CUDALIBMG_GRID_MAPPING_COL_MAJOR));
}

template <class Size, class Function, class... Arguments>
void CusolverMgSession::call(const char* routine, ScalarType type, VendorWorkspace& work, Size size, Function function,
                             Arguments... arguments) {
  const CurrentDevice current;
  std::int64_t elements = 0;
  info_ = 0;
  JAXMG_CHECK(size(handle_, arguments..., &elements));
  if (!work.suffices(routine, elements * size_of(type))) return;
  const cusolverStatus_t status = function(handle_, arguments..., work.parts.data(), elements, &info_);
  // The library reports a minor that is not positive as an internal error, too.
  if (status != CUSOLVER_STATUS_INTERNAL_ERROR || info_ <= 0) check(status, routine);
  for (const int device : devices_) {
    JAXMG_CHECK(cudaSetDevice(device));
    JAXMG_CHECK(cudaDeviceSynchronize());
  }
  if (info_ < 0) {
    throw Error(ErrorCode::internal, std::string(routine) + ": argument " + std::to_string(-info_) + " is illegal");
  }
}

void CusolverMgSession::potrf(DealtColumns& a, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a);
  call("cusolverMgPotrf", a.type, work, mg.potrf_buffer_size, mg.potrf, lower, order(a), a.parts.data(), 1, 1, d.get(),
       data_type(a.type));
}

void CusolverMgSession::potrs(DealtColumns& a, DealtColumns& b, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a), d_of_b(grid_, b);
  call("cusolverMgPotrs", a.type, work, mg.potrs_buffer_size, mg.potrs, lower, order(a), right_hand_sides(b),
       a.parts.data(), 1, 1, d.get(), b.parts.data(), 1, 1, d_of_b.get(), data_type(a.type));
}

void CusolverMgSession::potri(DealtColumns& a, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a);
  call("cusolverMgPotri", a.type, work, mg.potri_buffer_size, mg.potri, lower, order(a), a.parts.data(), 1, 1, d.get(),
       data_type(a.type));
}

void CusolverMgSession::getrf(DealtColumns& a, DealtPivots& pivots, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a);
  call("cusolverMgGetrf", a.type, work, mg.getrf_buffer_size, mg.getrf, order(a), order(a), a.parts.data(), 1, 1,
       d.get(), pivots.data(), data_type(a.type));
}

void CusolverMgSession::getrs(DealtColumns& a, DealtPivots& pivots, DealtColumns& b, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a), d_of_b(grid_, b);
  call("cusolverMgGetrs", a.type, work, mg.getrs_buffer_size, mg.getrs, CUBLAS_OP_N, order(a), right_hand_sides(b),
       a.parts.data(), 1, 1, d.get(), pivots.data(), b.parts.data(), 1, 1, d_of_b.get(), data_type(a.type));
}

void CusolverMgSession::syevd(DealtColumns& a, bool vectors, VendorWorkspace& work) {
  const CusolverMg& mg = CusolverMg::instance();
  const Description d(grid_, a);
  eigenvalues_.resize(static_cast<std::size_t>(a.rows) * sizeof(double));
  call("cusolverMgSyevd", a.type, work, mg.syevd_buffer_size, mg.syevd, job(vectors), lower, order(a), a.parts.data(),
       1, 1, d.get(), eigenvalues_.data(), real_type(a.type), data_type(a.type));
}

}  // namespace jaxmg::cuda
