// Queries of Python to the CUDA library about vendors' solvers.
#include <concepts>
#include <cstdint>
#include <span>

#include "core/error.h"
#include "ffi/c_api.h"
#include "routines/planning.h"
#include "routines/table.h"
#include "vendor/cusolvermg/cuda/questions.h"
#include "vendor/cusolvermg/cuda/session.h"
#include "vendor/cusolvermp/cuda/library.h"

// Loads cuSOLVERMg and reports its version, 10000 major + 100 minor + patch. Returns 0, or 1 with the reason in
// `message`.
JAXMG_EXPORT int jaxmg_cusolvermg_load(std::int64_t* version, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    jaxmg::cuda::CusolverMg::instance();
    *version = jaxmg::cuda::CusolverMg::version();
  });
}

// Bytes of library workspace per device for the call of an encoded plan. Returns as jaxmg_cusolvermg_load.
JAXMG_EXPORT int jaxmg_cusolvermg_workspace(const std::int64_t* words, std::int64_t count, std::int64_t* bytes,
                                            char* message, std::int64_t message_size) {
  using namespace jaxmg;
  return answered(message, message_size, [&] {
    std::span<const std::int64_t> encoded(words, static_cast<std::size_t>(count));
    const auto header = decode<Header>(encoded);
    with_served<Routines, Backends>(header, "GPUs", [&]<class S, class R>() {
      if constexpr (serves<CusolverMg, R> && std::same_as<S, Served<CusolverMg, R>>) {
        const auto [problem, plan] = decoded<S>(encoded);
        const int devices = checked_int(problem.ranks, "the number of devices");
        *bytes = cuda::Sessions::instance().ask(
            devices, [&](auto& session, const auto& parts) { return S::library_bytes(session, problem, plan, parts); });
      } else {
        throw Error(ErrorCode::invalid_argument, "the plan is not for cuSOLVERMg");
      }
    });
  });
}

// As jaxmg_cusolvermg_load, for cuSOLVERMp.
JAXMG_EXPORT int jaxmg_cusolvermp_load(std::int64_t* version, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { *version = jaxmg::cuda::CusolverMpLibrary::instance().version(); });
}
