// Packets of the serial protocol (../../PROTOCOL.md): plain C++11, no allocation, nothing of Arduino.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace lensless {

constexpr uint8_t VERSION = 1;
constexpr size_t LONGEST = 4096;  // on the line, without the zero
constexpr size_t LONGEST_BODY = 4066;
constexpr size_t SHORTEST = 14;
constexpr size_t HEAD = 9;

// zlib's CRC-32, four bits at a time: a table of 64 bytes.
inline uint32_t crc32(const uint8_t* data, size_t size, uint32_t crc = VERSION) {
  static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                     0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                     0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  crc = ~crc;
  for (size_t at = 0; at < size; ++at) {
    crc ^= data[at];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

class Whitening {
 public:
  uint8_t next() {
    x_ = 1664525u * x_ + 1013904223u;
    return static_cast<uint8_t>(x_ >> 24);
  }

 private:
  uint32_t x_ = 1;
};

// Numbers with their low byte first.
inline size_t put_number(uint8_t* out, uint64_t value, size_t bytes) {
  for (size_t at = 0; at < bytes; ++at) out[at] = static_cast<uint8_t>(value >> 8 * at);
  return bytes;
}

inline uint32_t number_at(const uint8_t* data, size_t bytes) {
  uint32_t value = 0;
  for (size_t at = 0; at < bytes; ++at) value |= static_cast<uint32_t>(data[at]) << 8 * at;
  return value;
}

// Every version understands the hello and the asking for it.
inline uint32_t seed(uint8_t kind) { return kind == 'h' || kind == 'H' ? 0 : VERSION; }

struct Packet {
  uint8_t kind;
  uint32_t boot, number;
  const uint8_t* body;
  size_t size;
};

// Makes one packet at a time: `begin`, `put` as often as there are parts, `end`. On the line a zero comes first: the
// packet before may have been cut short.
class Encoder {
 public:
  void begin(uint8_t kind, uint32_t boot, uint32_t number) {
    whitening_ = Whitening();
    line_[0] = 0;
    code_ = 1;
    size_ = 2;
    run_ = 1;
    left_ = HEAD + LONGEST_BODY;
    fits_ = true;
    crc_ = seed(kind);
    uint8_t head[HEAD] = {kind};
    put_number(head + 1, boot, 4);
    put_number(head + 5, number, 4);
    put(head, HEAD);
  }

  void put(const uint8_t* data, size_t size) {
    fits_ = fits_ && size <= left_;
    if (!fits_) return;
    left_ -= size;
    crc_ = crc32(data, size, crc_);
    for (size_t at = 0; at < size; ++at) stuff(data[at]);
  }

  // How many bytes there are in `line`; 0 if the body was too long.
  size_t end() {
    for (size_t at = 0; at < 4; ++at) stuff(static_cast<uint8_t>(crc_ >> 8 * at));
    line_[code_] = run_;
    line_[size_++] = 0;
    return fits_ ? size_ : 0;
  }

  const uint8_t* line() const { return line_; }

 private:
  void stuff(uint8_t plain) {
    const uint8_t byte = plain ^ whitening_.next();
    if (run_ == 255) open();
    if (byte == 0) {
      open();
    } else {
      line_[size_++] = byte;
      ++run_;
    }
  }

  void open() {
    line_[code_] = run_;
    code_ = size_++;
    run_ = 1;
  }

  uint8_t line_[LONGEST + 2];
  size_t code_ = 0, size_ = 0, left_ = 0;
  uint8_t run_ = 1;
  uint32_t crc_ = 0;
  bool fits_ = true;
  Whitening whitening_;
};

// Takes bytes as they come. A packet that it has found holds until the next byte is taken.
class Reader {
 public:
  bool take(uint8_t byte, Packet& packet) {
    if (byte != 0) {
      if (size_ < LONGEST) line_[size_++] = byte;
      else too_long_ = true;
      return false;
    }
    const bool whole = !too_long_ && size_ >= SHORTEST && unstuff();
    const bool found = whole && read(packet);
    size_ = 0;
    too_long_ = false;
    return found;
  }

 private:
  bool unstuff() {
    size_t at = 0, out = 0;
    while (at < size_) {
      const uint8_t run = line_[at];
      if (at + run > size_) return false;
      memmove(line_ + out, line_ + at + 1, run - 1u);
      out += run - 1u;
      at += run;
      if (run < 255 && at < size_) line_[out++] = 0;
    }
    size_ = out;
    return size_ >= SHORTEST - 1;
  }

  bool read(Packet& packet) {
    Whitening whitening;
    for (size_t at = 0; at < size_; ++at) line_[at] ^= whitening.next();
    const size_t end = size_ - 4;
    packet = {line_[0], number_at(line_ + 1, 4), number_at(line_ + 5, 4), line_ + HEAD, end - HEAD};
    return number_at(line_ + end, 4) == crc32(line_, end, seed(packet.kind));
  }

  uint8_t line_[LONGEST];
  size_t size_ = 0;
  bool too_long_ = false;
};

}  // namespace lensless
