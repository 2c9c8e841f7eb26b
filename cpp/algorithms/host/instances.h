// Instances of the algorithms over the host engine, compiled in jaxmg_algorithms_host.
#pragma once

#include "algorithms/instances.h"
#include "engine/host/host_engine.h"

namespace jaxmg {

JAXMG_ALL_ALGORITHMS(extern, HostEngine)

}  // namespace jaxmg
