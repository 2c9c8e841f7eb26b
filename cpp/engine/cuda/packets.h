// Packets through which the thread blocks of a cooperative launch exchange numbers. Readers poll for the tag that they
// expect, which takes neither a barrier nor a fence.
//
// For the kernel compiler only.
#pragma once

namespace jaxmg {

// What a packet carries: 64 bits, a number below 2^24, and a tag from 1 to 255.
struct Message {
  unsigned long long bits;
  int number;
  unsigned tag;
};

// Two words, each with the tag: a word is written and read at once, the pair need not be. In memory that is zero, a
// packet has no tag.
struct alignas(16) Packet {
  unsigned long long first, second;
};

__device__ inline void store_packet(Packet* to, Packet packet) {
  asm volatile("st.relaxed.gpu.global.v2.u64 [%0], {%1, %2};" ::"l"(to), "l"(packet.first), "l"(packet.second)
               : "memory");
}

__device__ inline Packet load_packet(const Packet* from) {
  Packet packet;
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
               : "=l"(packet.first), "=l"(packet.second)
               : "l"(from)
               : "memory");
  return packet;
}

__device__ inline void send(Packet* to, Message message) {
  const unsigned low = static_cast<unsigned>(message.number) << 8 | message.tag;
  store_packet(to, {(message.bits >> 32) << 32 | low, message.bits << 32 | message.tag});
}

__device__ inline Message receive(const Packet* from, unsigned tag) {
  Packet packet;
  do {
    packet = load_packet(from);
  } while ((packet.first & 255) != tag || (packet.second & 255) != tag);
  return {(packet.first >> 32) << 32 | packet.second >> 32, static_cast<int>(packet.first >> 8 & 0xffffff), tag};
}

}  // namespace jaxmg
