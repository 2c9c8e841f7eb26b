// Ranges in profiles of NVIDIA's tools, in the NVTX domain "jaxmg": the tools show what the host enqueues in a range,
// and project it onto the GPU. Header-only; without a tool, a range costs a few nanoseconds.
#pragma once

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define JAXMG_HAS_NVTX
#endif

namespace jaxmg::cuda {

class Range {
 public:
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

#ifdef JAXMG_HAS_NVTX
  explicit Range(const char* name) {
    nvtxEventAttributes_t attributes = {};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = name;
    nvtxDomainRangePushEx(domain(), &attributes);
  }
  ~Range() { nvtxDomainRangePop(domain()); }

 private:
  static nvtxDomainHandle_t domain() {
    static const nvtxDomainHandle_t made = nvtxDomainCreateA("jaxmg");
    return made;
  }
#else
  explicit Range(const char*) {}
#endif
};

}  // namespace jaxmg::cuda
