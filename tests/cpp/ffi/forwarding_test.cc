// Forwarding handlers: loading on the first call, errors, metadata, concurrent first calls.
#include "ffi/forwarding.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace jaxmg {
namespace {

// Loader that records its calls and returns `handler`, or a reason without one.
struct Loader {
  std::atomic<int> requests = 0;
  std::string last_request;
  Handler handler = nullptr;
};
Loader loader;

Handler find(const char* platform, const char* routine, char* message, std::int64_t message_size) {
  loader.last_request = std::string(platform) + ' ' + routine;
  ++loader.requests;
  if (loader.handler == nullptr) {
    const std::string reason = "there is no library";
    EXPECT_LT(static_cast<std::int64_t>(reason.size()), message_size);
    std::memcpy(message, reason.c_str(), reason.size() + 1);
  }
  return loader.handler;
}

Handler find_concurrently(const char*, const char*, char*, std::int64_t) {
  ++loader.requests;
  return loader.handler;
}

std::atomic<int> calls = 0;
XLA_FFI_Error* count_call(XLA_FFI_CallFrame*) {
  ++calls;
  return nullptr;
}
XLA_FFI_CallFrame* called_with = nullptr;
XLA_FFI_Error* some_error = reinterpret_cast<XLA_FFI_Error*>(&called_with);
XLA_FFI_Error* fail_with_some_error(XLA_FFI_CallFrame* frame) {
  called_with = frame;
  return some_error;
}

// The arguments of the last error that was created.
struct Failure {
  std::string message;
  XLA_FFI_Error_Code code;
};
Failure failure;

XLA_FFI_Error* create_error(XLA_FFI_Error_Create_Args* args) {
  failure = {args->message, args->errc};
  return reinterpret_cast<XLA_FFI_Error*>(&failure);
}

class Forwarding : public testing::Test {
 protected:
  Forwarding() {
    loader.requests = 0;
    loader.last_request.clear();
    loader.handler = nullptr;
    calls = 0;
    api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
    api.XLA_FFI_Error_Create = create_error;
    frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
    frame.api = &api;
    frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  }

  XLA_FFI_Api api{};
  XLA_FFI_CallFrame frame{};
  ForwardingHandler handler{"gpu", "posv"};
};

TEST_F(Forwarding, HandlerIsLoadedOnceAndReceivesEveryCall) {
  loader.handler = count_call;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(handler(&frame, find), nullptr);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(loader.requests, 1);
  EXPECT_EQ(loader.last_request, "gpu posv");
}

TEST_F(Forwarding, FrameAndErrorPassUnchanged) {
  loader.handler = fail_with_some_error;
  EXPECT_EQ(handler(&frame, find), some_error);
  EXPECT_EQ(called_with, &frame);
}

TEST_F(Forwarding, FailureReportsTheReasonAndIsNotCached) {
  EXPECT_EQ(handler(&frame, find), reinterpret_cast<XLA_FFI_Error*>(&failure));
  EXPECT_EQ(failure.message, "jaxmg posv: there is no library");
  EXPECT_EQ(failure.code, XLA_FFI_Error_Code_FAILED_PRECONDITION);
  loader.handler = count_call;
  EXPECT_EQ(handler(&frame, find), nullptr);
  EXPECT_EQ(calls, 1);
}

TEST_F(Forwarding, MetadataIsReportedWithoutLoading) {
  XLA_FFI_Metadata metadata{};
  metadata.struct_size = XLA_FFI_Metadata_STRUCT_SIZE;
  metadata.traits = ~XLA_FFI_Handler_Traits{0};
  XLA_FFI_Metadata_Extension extension{};
  extension.extension_base.struct_size = XLA_FFI_Metadata_Extension_STRUCT_SIZE;
  extension.extension_base.type = XLA_FFI_Extension_Metadata;
  extension.metadata = &metadata;
  frame.extension_start = &extension.extension_base;
  EXPECT_EQ(handler(&frame, find), nullptr);
  EXPECT_EQ(loader.requests, 0);
  EXPECT_EQ(metadata.api_version.major_version, XLA_FFI_API_MAJOR);
  EXPECT_EQ(metadata.api_version.minor_version, XLA_FFI_API_MINOR);
  EXPECT_EQ(metadata.traits, XLA_FFI_Handler_Traits{0});
}

TEST_F(Forwarding, ConcurrentFirstCallsReachTheHandler) {
  loader.handler = count_call;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      XLA_FFI_CallFrame own = frame;
      EXPECT_EQ(handler(&own, find_concurrently), nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(calls, 8);
  EXPECT_GE(loader.requests, 1);
  EXPECT_LE(loader.requests, 8);
}

}  // namespace
}  // namespace jaxmg
