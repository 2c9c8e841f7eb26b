// The arguments of our kernels, as both the host compiler and the kernel compiler see them. No includes: the
// kernels are also compiled by NVRTC, which has no standard library.
#pragma once

namespace jaxmg {

// A rectangle to copy: `columns` runs of `column_bytes`. The address `to` is one of this rank's buffers; the
// copy goes to where that address lies on each target.
struct CopyItem {
  const char* from;
  char* to;
  long long from_pitch;
  long long to_pitch;
  int column_bytes;
  int columns;
  unsigned short targets;  // bit i: goes to the batch's target i
  unsigned char region;    // which of the call's buffers `to` lies in
  unsigned char vector;    // bytes that every address and size is a multiple of: 16, 8 or 4
};

constexpr int copy_targets = 8;
constexpr int copy_regions = 8;
constexpr int copy_items = 64;

struct CopyBatch {
  long long offset[copy_targets][copy_regions];  // from an own address to the target's
  int count;
  CopyItem items[copy_items];
};
static_assert(sizeof(CopyBatch) <= 4096, "kernel arguments are limited to 4 KiB");

constexpr int subtract_terms = 16;

// Columns of real numbers; complex ones are pairs.
struct Subtraction {
  const void* terms[subtract_terms];
  long long term_ld[subtract_terms];
  void* x;
  long long x_ld;
  int count;
  int rows;
  int columns;
};

}  // namespace jaxmg
