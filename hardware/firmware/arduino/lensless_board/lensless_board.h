// What a board says and does (../../PROTOCOL.md), apart from its sensor and its line: plain C++11, no allocation.
#pragma once

#include <initializer_list>

#include "lensless_codec.h"

namespace lensless {

constexpr uint32_t FOR_EVER = 0xFFFFFFFF;
constexpr int16_t UNKNOWN_TEMPERATURE = -32768;
constexpr size_t PIXELS_AT_ONCE = 2048;

struct Mode {
  uint16_t rows, columns;
  uint8_t bit_depth;
  const char* pixel_format;  // and its colour filter array: none
};

struct Settings {
  uint8_t mode;
  uint32_t exposure_us;
  int32_t gain_mdb;  // 1/1000 dB
};

// What the hello says. Texts must need no escapes in JSON.
struct Facts {
  const char *serial, *board, *sensor, *firmware;
  const Mode* modes;
  uint8_t mode_count;
  uint32_t shortest_us, longest_us;
  int32_t lowest_mdb, highest_mdb;
  uint16_t black_level_dn;
  bool raw;
};

struct Taken {
  const uint8_t* pixels;
  uint64_t start_us;  // of the exposure of the first row
  int16_t temperature;  // 1/100 degrees C
};

enum class Look { waiting, taken, failed };

class Sensor {
 public:
  virtual const Settings& settings() = 0;              // as read back
  virtual const char* configure(const Settings&) = 0;  // to the nearest that it can; else why not, for people
  virtual void begin() = 0;                            // expose one frame, from now on
  virtual Look look(Taken&) = 0;                       // is it there? Its pixels hold until the next `begin`
  virtual void give_up() = 0;                          // what was begun is not wanted any more

 protected:
  ~Sensor() = default;
};

class Line {
 public:
  virtual size_t read(uint8_t* data, size_t most) = 0;          // what has come, maybe nothing
  virtual size_t write(const uint8_t* data, size_t size) = 0;  // how many bytes went out
  virtual uint64_t clock_us() = 0;                              // since the start of the board

 protected:
  ~Line() = default;
};

// A number as text. The printf of small boards knows none of 64 bits.
struct Decimal {
  explicit Decimal(int64_t value) {
    const bool negative = value < 0;
    uint64_t rest = negative ? -static_cast<uint64_t>(value) : value;
    do *--text = static_cast<char>('0' + rest % 10);
    while (rest /= 10);
    if (negative) *--text = '-';
  }

  char room[24] = {};
  char* text = room + 23;
};

// `start` once, then `turn` again and again: none takes longer than one packet on the line.
class Board {
 public:
  // boot: drawn at random at each start, not 0. number: of the first frame.
  Board(Sensor& sensor, Line& line, const Facts& facts, uint32_t boot, uint32_t number = 0)
      : sensor_(sensor), line_(line), facts_(facts), boot_(boot), number_(number) {}

  void start() { hello(0); }

  void turn() {
    uint8_t data[64];
    const size_t got = line_.read(data, sizeof data);
    Packet packet;
    for (size_t at = 0; at < got; ++at)
      if (reader_.take(data[at], packet)) hear(packet);
    if (sending_) send();
    else if (exposing_) look();
    else if (waiting_) configure();
    else if (left_) {
      exposing_ = true;
      sensor_.begin();
    }
  }

 private:
  void hear(const Packet& packet) {
    const uint8_t kind = packet.kind;
    const bool request = kind == 'c' || kind == 's' || kind == 'p';
    if (kind == 'h' || (request && packet.boot != boot_)) return hello(packet.number);
    if (!request) return;
    if (packet.number == answered_) {
      say(answer_kind_, answered_, answer_, answer_size_);
      return;
    }
    asked_ = packet.number;
    waiting_ = false;  // the host has given up what it asked before
    if (kind == 'p') return refuse("this board has no lamps");
    if (packet.size != (kind == 'c' ? 9 : 4)) return refuse("a request of another size than the protocol's");
    if (kind == 's') return stream(number_at(packet.body, 4));
    wanted_ = {packet.body[0], number_at(packet.body + 1, 4), static_cast<int32_t>(number_at(packet.body + 5, 4))};
    waiting_ = true;  // for the end of a frame
  }

  void configure() {
    waiting_ = false;
    const Settings now = sensor_.settings();
    if (wanted_.mode == 0xFF) wanted_.mode = now.mode;
    if (wanted_.exposure_us == 0) wanted_.exposure_us = now.exposure_us;
    if (wanted_.gain_mdb == INT32_MIN) wanted_.gain_mdb = now.gain_mdb;
    if (wanted_.mode >= facts_.mode_count) return refuse_range("mode", wanted_.mode, 0, facts_.mode_count - 1);
    if (wanted_.exposure_us < facts_.shortest_us || wanted_.exposure_us > facts_.longest_us)
      return refuse_range("exposure in us", wanted_.exposure_us, facts_.shortest_us, facts_.longest_us);
    if (wanted_.gain_mdb < facts_.lowest_mdb || wanted_.gain_mdb > facts_.highest_mdb)
      return refuse_range("gain in 1/1000 dB", wanted_.gain_mdb, facts_.lowest_mdb, facts_.highest_mdb);
    if (const char* why_not = sensor_.configure(wanted_)) return refuse(why_not);
    const Settings& applied = sensor_.settings();
    size_t size = put_number(answer_, applied.mode, 1);
    size += put_number(answer_ + size, applied.exposure_us, 4);
    size += put_number(answer_ + size, static_cast<uint32_t>(applied.gain_mdb), 4);
    size += put_number(answer_ + size, line_.clock_us(), 8);
    answer('C', size);
  }

  void stream(uint32_t count) {
    if (exposing_) sensor_.give_up();
    if (exposing_ || sending_) ++number_;  // the frame under way keeps its number
    exposing_ = sending_ = false;
    left_ = count;
    answer('S', state(answer_));
  }

  void look() {
    const Look found = sensor_.look(taken_);
    if (found == Look::failed) return over();  // it keeps its number: the host counts it as lost
    if (found == Look::waiting) return;
    exposing_ = false;
    sending_ = true;
    const Settings& set = sensor_.settings();
    const Mode& mode = facts_.modes[set.mode];
    uint8_t body[28];
    size_t size = put_number(body, set.mode, 1);
    size += put_number(body + size, mode.rows, 2);
    size += put_number(body + size, mode.columns, 2);
    size += put_number(body + size, mode.bit_depth, 1);
    size += put_number(body + size, set.exposure_us, 4);
    size += put_number(body + size, static_cast<uint32_t>(set.gain_mdb), 4);
    size += put_number(body + size, taken_.start_us, 8);
    size += put_number(body + size, static_cast<uint16_t>(taken_.temperature), 2);
    sent_ = 0;
    size_ = static_cast<size_t>(mode.rows) * mode.columns * (mode.bit_depth > 8 ? 2 : 1);
    crc_ = crc32(body, size);
    if (!say('B', number_, body, size)) over();
  }

  void send() {
    uint8_t number[4];
    if (sent_ == size_) {
      put_number(number, crc_, 4);
      say('E', number_, number, 4);
      return over();
    }
    const size_t size = size_ - sent_ < PIXELS_AT_ONCE ? size_ - sent_ : PIXELS_AT_ONCE;
    put_number(number, sent_, 4);
    encoder_.begin('D', boot_, number_);
    encoder_.put(number, 4);
    encoder_.put(taken_.pixels + sent_, size);
    crc_ = crc32(taken_.pixels + sent_, size, crc_);
    sent_ += size;
    if (!out()) over();  // the host takes nothing
  }

  void over() {
    exposing_ = sending_ = false;
    ++number_;
    if (left_ == FOR_EVER || --left_ > 0) return;
    uint8_t body[16];
    say('S', 0, body, state(body));
  }

  size_t state(uint8_t* body) {
    put_number(body, number_, 4);
    put_number(body + 4, left_, 4);
    return 8 + put_number(body + 8, line_.clock_us(), 8);
  }

  void answer(uint8_t kind, size_t size) {
    answer_kind_ = kind;
    answer_size_ = size;
    answered_ = asked_;
    say(kind, answered_, answer_, size);
  }

  void refuse(const char* why, const char* b = "", const char* c = "", const char* d = "", const char* e = "",
              const char* f = "", const char* g = "") {
    size_t size = 0;
    for (const char* part : {why, b, c, d, e, f, g})
      for (; *part && size < sizeof answer_; ++part) answer_[size++] = static_cast<uint8_t>(*part);
    answer('X', size);
  }

  void refuse_range(const char* what, int64_t got, int64_t low, int64_t high) {
    refuse(what, ": ", Decimal(got).text, "; it can be ", Decimal(low).text, " to ", Decimal(high).text);
  }

  void hello(uint32_t number) {
    encoder_.begin('H', boot_, number);
    text("{\"protocol\":1,\"serial\":\"", facts_.serial, "\",\"board\":\"", facts_.board, "\",\"sensor\":\"");
    text(facts_.sensor, "\",\"firmware\":\"", facts_.firmware, "\",\"modes\":[");
    for (uint8_t at = 0; at < facts_.mode_count; ++at) {
      const Mode& mode = facts_.modes[at];
      whole(at ? ",{\"rows\":" : "{\"rows\":", mode.rows);
      whole(",\"columns\":", mode.columns);
      whole(",\"bit_depth\":", mode.bit_depth);
      text(",\"pixel_format\":\"", mode.pixel_format, "\",\"cfa\":null}");
    }
    whole("],\"exposure_us\":[", facts_.shortest_us);
    whole(",", facts_.longest_us);
    whole("],\"gain_db\":[", facts_.lowest_mdb);
    whole("e-3,", facts_.highest_mdb);
    whole("e-3],\"black_level_dn\":", facts_.black_level_dn);
    text(",\"raw\":", facts_.raw ? "true" : "false", ",\"matrix\":null}");
    out();
  }

  void text(const char* a, const char* b = "", const char* c = "", const char* d = "", const char* e = "") {
    for (const char* part : {a, b, c, d, e}) encoder_.put(reinterpret_cast<const uint8_t*>(part), strlen(part));
  }

  void whole(const char* before, int64_t value) { text(before, Decimal(value).text); }

  bool say(uint8_t kind, uint32_t number, const uint8_t* body, size_t size) {
    encoder_.begin(kind, boot_, number);
    encoder_.put(body, size);
    return out();
  }

  bool out() {
    const size_t size = encoder_.end();
    return size > 0 && line_.write(encoder_.line(), size) == size;
  }

  Sensor& sensor_;
  Line& line_;
  const Facts& facts_;
  const uint32_t boot_;
  uint32_t number_;  // of the frame under way, or the next one
  uint32_t left_ = 0;
  bool exposing_ = false, sending_ = false;
  bool waiting_ = false;  // `wanted_` is to be applied
  Settings wanted_ = {};
  Taken taken_ = {};
  size_t sent_ = 0, size_ = 0;
  uint32_t crc_ = 0;
  uint32_t asked_ = 0, answered_ = 0;  // numbers of requests
  uint8_t answer_kind_ = 0;
  uint8_t answer_[120];
  size_t answer_size_ = 0;
  Encoder encoder_;
  Reader reader_;
};

}  // namespace lensless
