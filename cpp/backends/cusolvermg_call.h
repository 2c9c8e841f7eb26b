// One rank's part in a call of cuSOLVERMg: all ranks meet, and rank 0 makes the call for the GPUs of all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "algorithms/moves/move_columns.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/dealt_columns.h"
#include "layout/column_moves.h"

namespace jaxmg {

// `Session` is cuda::CusolverMgSession, or what stands for it in tests on the host. Of an engine it takes
//   kept<Session>()           one for all ranks of the process
//   devices()                 that they are on
//   on_behalf_of_all(work)    work() on rank 0, all being done before and none going on meanwhile
//   address_on(rank, address)
template <class T, class E, class Session>
class CusolverMgCall {
 public:
  // `a` is this rank's part of a matrix that has been dealt; `copy` is where it goes if the library cannot take it as
  // it is, `workspace` what the library may use.
  CusolverMgCall(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> copy, Arena workspace)
      : engine_(engine),
        layout_(layout),
        cyclic_(block_cyclic(layout)),
        a_(a),
        matrix_(copy.empty() ? a : copy),
        workspace_(workspace),
        session_(engine.template kept<Session>()) {}

  // Where the columns are that the library works on.
  const TileColumns& layout() const { return cyclic_; }
  MatrixView<T> matrix() const { return matrix_; }
  const Session& session() const { return *session_; }

  void fetch() {
    if (moved()) move_columns(engine_, layout_, a_, cyclic_, matrix_);
  }
  void put_back() {
    if (moved()) move_columns(engine_, cyclic_, matrix_, layout_, a_);
  }

  // work(session, A, workspace) on rank 0, with the parts of all ranks. Returns LAPACK's info of its last routine.
  template <class Work>
  std::int32_t run(Work&& work) {
    engine_.on_behalf_of_all([&] {
      session_->open(engine_.devices());
      DealtColumns a = dealt(matrix_, layout_.order(), layout_.tile());
      DealtWorkspace memory{parts(workspace_.take<std::byte>(0)), workspace_.left()};
      work(*session_, a, memory);
    });
    return session_->info();
  }

  // A matrix of which each rank has its part at the address of `part`.
  DealtColumns dealt(MatrixView<T> part, std::int64_t columns, std::int64_t block) const {
    return {ScalarTraits<T>::type, part.rows, columns, block, parts(part.data)};
  }

 private:
  bool moved() const { return matrix_.data != a_.data; }

  template <class Element>
  std::vector<void*> parts(Element* own) const {
    std::vector<void*> all;
    for (int r = 0; r < engine_.size(); ++r) all.push_back(engine_.address_on(r, own));
    return all;
  }

  E& engine_;
  const TileColumns& layout_;
  TileColumns cyclic_;
  MatrixView<T> a_, matrix_;
  Arena workspace_;
  std::shared_ptr<Session> session_;
};

}  // namespace jaxmg
