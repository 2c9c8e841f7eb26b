// A call of cuSOLVERMg: all ranks synchronise, and rank 0 makes the call for the GPUs of all ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "layout/tile_columns.h"
#include "vendor/cusolvermg/dealt_columns.h"
#include "vendor/workspace.h"

namespace jaxmg {

// The library as seen from engine E: `using Session = ...`, cuda::CusolverMgSession or its stand-in for tests on the
// host. It requires of the engine
//   kept<Session>()           one session for all ranks of the process
//   devices()                 of all ranks
//   on_behalf_of_all(work)    work() on rank 0, after all earlier work of all ranks and before any later work
//   address_on(rank, address)
template <class E>
struct CusolverMgOn;

template <class T, class E>
class CusolverMgCall {
 public:
  using Session = typename CusolverMgOn<E>::Session;

  // `a` is this rank's part of a matrix of this layout, which must be block-cyclic; `workspace` is for the library.
  CusolverMgCall(E& engine, const TileColumns& layout, MatrixView<T> a, Arena workspace)
      : engine_(engine), layout_(layout), a_(a), workspace_(workspace), session_(engine.template kept<Session>()) {}

  const Session& session() const { return *session_; }

  // Runs work(session, A, workspace) on rank 0, with the parts of all ranks. Returns LAPACK's info of its last routine.
  template <class Work>
  std::int32_t run(Work&& work) {
    engine_.on_behalf_of_all([&] {
      session_->open(engine_.devices());
      DealtColumns a{ScalarTraits<T>::type, a_.rows, layout_.order(), layout_.tile(), parts<void>(a_.data)};
      VendorWorkspace memory{parts<void>(workspace_.take<std::byte>(0)), workspace_.left()};
      work(*session_, a, memory);
    });
    return session_->info();
  }

  // The symmetric addresses of `own` on all ranks.
  template <class Element>
  std::vector<Element*> parts(Element* own) const {
    std::vector<Element*> all;
    for (int r = 0; r < engine_.size(); ++r) all.push_back(engine_.address_on(r, own));
    return all;
  }

 private:
  E& engine_;
  TileColumns layout_;
  MatrixView<T> a_;
  Arena workspace_;
  std::shared_ptr<Session> session_;
};

}  // namespace jaxmg
