// The largest orders at which one rank alone is faster than all ranks together: it gathers the matrix, solves with
// LAPACK or cuSOLVERDn, and sends the result back. Up to there, the chain of panels of a distributed algorithm takes
// longer than all of the arithmetic.
#pragma once

#include <concepts>
#include <cstdint>
#include <utility>

#include "core/scalar.h"
#include "engine/scratch.h"
#include "planner/problem.h"

namespace jaxmg {

// Orders by scalar type.
struct OrdersByType {
  std::int64_t f32, f64, c64, c128;

  std::int64_t of(ScalarType type) const {
    return type == ScalarType::f32 ? f32 : type == ScalarType::f64 ? f64 : type == ScalarType::c64 ? c64 : c128;
  }
};

// Orders by routine. A factor that one rank made is in whole shards, which a distributed algorithm balances badly:
// routines that read a factor have the order of the factorisation.
struct OneRankOrders {
  OrdersByType posv;   // also potrf, potrs and potri
  OrdersByType gesv;   // also getrf, getrs and getri
  OrdersByType trtrs;  // reads the matrix once
  OrdersByType syevd;
  // One rank by itself (of one device, or gathered) leaves the eigenproblem to the library's syevd.
  OrdersByType library_syevd, library_syevd_values;
  OrdersByType gesvd;
  OrdersByType library_gesvd;  // of LAPACK's gesdd
};

// Four H100. A solve by posv, f64: n = 1024 takes 1.9 ms on four and 0.6 ms on one by cuSOLVERDn, n = 4096 6.8 and 2.4
// ms; to gather 4096 columns takes about 0.4 ms. Beyond, by the cost model, four are faster from n = 8000 or so. LU: a
// column of a panel takes 2.3 us on one as on four, and four send it. syevd, f64: n = 2048 takes 39 ms by our own
// algorithm and 29 ms by Xsyevd, n = 4096 83 and 123 ms, and 79 ms on four. f64 is measured at these orders, the other
// types are estimates: `python benchmarks/small.py` measures all of them.
inline constexpr OneRankOrders orders_on_gpus{
    .posv = {6144, 6144, 6144, 4096},
    .gesv = {4096, 4096, 3072, 2048},
    .trtrs = {4096, 4096, 4096, 3072},
    .syevd = {3072, 3072, 3072, 3072},
    .library_syevd = {2880, 2880, 2880, 2880},
    .library_syevd_values = {2880, 2880, 2880, 2880},
    .gesvd = {3072, 3072, 3072, 3072},
    .library_gesvd = {0, 0, 0, 0},
};

// The sizes of LAPACK's syevd and gesdd and of their workspaces (2 n^2 and 5 n^2 elements) have 32 bits.
inline constexpr std::int64_t most_for_lapack = 32000, most_for_gesdd = 20000;

// Four ranks on two x86 cores; milliseconds of all ranks and of one for all, f64 (at 4096, of a single call):
//
//   n                  512         1024          2048          3072           4096
//   posv             2.3   1.6    13    7.8    74    56     174   153      293   296
//   posv and potri   6.1   4.9    32     23   147   146     362   401      700   811
//   gesv             3.8   3.2    20     15   104    85     219   211      460   464
//   trtrs            0.6   0.5   2.0    1.7    11    12      30    61       66   105
//   syevd                                    2304  1184    5164  3535    10382  8232
//   eigenvalues                              1012   612    2179  1821     3906  3744
//
// All ranks have one thread each. One rank that works for all has all threads of BLAS, here two: with one, gesv of 2048
// takes 135 ms. svd of 2048 took 17.7 s of all ranks, and 4.0 s of LAPACK's gesdd.
//
// Eigenvalues alone, of one rank, by LAPACK and by our own algorithm:
//
//   n           1024          2048          3072          4096
//   f32                     320   363    1087   924    2445  1878
//   f64       45   109      505   549    1365  1494    3258  3043
//   c64      119   177      856   881
//   c128     250   318     1691  1594
inline constexpr OneRankOrders orders_on_cpus{
    .posv = {2048, 2048, 2048, 2048},
    .gesv = {2048, 2048, 2048, 2048},
    .trtrs = {1024, 1024, 1024, 1024},
    .syevd = {4096, 4096, 4096, 4096},
    .library_syevd = {most_for_lapack, most_for_lapack, most_for_lapack, most_for_lapack},
    .library_syevd_values = {2048, 3072, 2048, 1536},
    .gesvd = {4096, 4096, 4096, 4096},
    .library_gesvd = {most_for_gesdd, most_for_gesdd, most_for_gesdd, most_for_gesdd},
};

inline const OneRankOrders& one_rank_orders(Platform platform) {
  return platform == Platform::cuda ? orders_on_gpus : orders_on_cpus;
}

// The largest order that one rank solves for all: the caller's limit, or else the routine's.
inline std::int64_t most_for_one_rank(const Problem& q, OrdersByType OneRankOrders::*routine) {
  return q.one_rank_up_to >= 0 ? q.one_rank_up_to : (one_rank_orders(q.platform).*routine).of(q.type);
}

// Problem and plan of the rank that works alone.
template <std::derived_from<Problem> Q>
Q alone(Q q) {
  q.ranks = 1;
  q.tile = 0;
  q.network = {};
  return q;
}
template <class Plan>
  requires requires(Plan plan) { plan.alone; }
Plan alone(Plan plan) {
  plan.tile = std::exchange(plan.alone, 0);
  if constexpr (requires { plan.distributed_rhs; }) plan.distributed_rhs = false;
  return plan;
}

}  // namespace jaxmg
