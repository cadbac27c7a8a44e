// Codec and board of the Arduino firmware behind a file of requests: see board_program.py.
#include <cstdio>
#include <memory>
#include <string>

#include "lensless_board.h"

using namespace lensless;

namespace {

const Mode MODES[] = {{60, 50, 8, "Mono8"}, {7, 5, 10, "Mono10"}};
const Facts FACTS = {"E6614103E7452D2F", "fake board", "fake", "1.0", MODES, 2, 10, 100000, -6000, 18000, 8, true};

struct FakeLine : Line {
  std::string incoming, said;
  size_t room = 0xFFFFFFFF;
  uint64_t now_us = 0;

  size_t read(uint8_t* data, size_t most) override {
    const size_t size = incoming.copy(reinterpret_cast<char*>(data), most);
    incoming.erase(0, size);
    return size;
  }
  size_t write(const uint8_t* data, size_t size) override {
    const size_t out = size < room ? size : room;
    if (room != 0xFFFFFFFF) room -= out;
    said.append(reinterpret_cast<const char*>(data), out);
    return out;
  }
  uint64_t clock_us() override { return now_us; }
};

struct FakeSensor : Sensor {
  explicit FakeSensor(FakeLine& line) : line(line) {}
  FakeLine& line;
  Settings set = {0, 1000, 0};
  uint32_t frames = 0, failing = 0, looks = 0;
  uint64_t start_us = 0;
  std::string pixels;

  const Settings& settings() override { return set; }
  const char* configure(const Settings& wanted) override {
    const int32_t gain = wanted.gain_mdb - ((wanted.gain_mdb % 6000) + 6000) % 6000;
    set = {wanted.mode, wanted.exposure_us / 10 * 10, gain};
    return nullptr;
  }
  void begin() override {
    start_us = line.now_us;
    looks = 0;
  }
  Look look(Taken& taken) override {
    if (++looks < 3) return Look::waiting;
    const uint32_t frame = frames++;
    if (failing) {
      --failing;
      return Look::failed;
    }
    pixels.resize(set.mode ? 7 * 5 * 2 : 60 * 50);
    for (uint32_t at = 0; at < pixels.size(); ++at)
      pixels[at] = static_cast<char>((at * at + 31 * frame + at / 8) & (set.mode && at % 2 ? 3 : 255));
    taken = {reinterpret_cast<const uint8_t*>(pixels.data()), start_us, int16_t(frame % 2 ? -32768 : 2350)};
    return Look::taken;
  }
  void give_up() override { ++frames; }
};

struct Running {
  Running(uint32_t boot, uint32_t number) : sensor(line), board(sensor, line, FACTS, boot, number) { board.start(); }
  FakeLine line;
  FakeSensor sensor;
  Board board;
};

std::unique_ptr<Running> running;

std::string said() {
  std::string out;
  out.swap(running->line.said);
  return out;
}

uint32_t at(const std::string& body, size_t place) {
  return number_at(reinterpret_cast<const uint8_t*>(body.data()) + place, 4);
}

std::string decoded(const std::string& line) {
  std::string out;
  Packet packet;
  Reader reader;
  for (const char byte : line) {
    if (!reader.take(static_cast<uint8_t>(byte), packet)) continue;
    uint8_t head[4 + HEAD];
    put_number(head, HEAD + packet.size, 4);
    head[4] = packet.kind;
    put_number(head + 5, packet.boot, 4);
    put_number(head + 9, packet.number, 4);
    out.append(reinterpret_cast<const char*>(head), sizeof head);
    out.append(reinterpret_cast<const char*>(packet.body), packet.size);
  }
  return out;
}

std::string encoded(const std::string& body) {
  static Encoder encoder;
  encoder.begin(static_cast<uint8_t>(body[0]), at(body, 1), at(body, 5));
  encoder.put(reinterpret_cast<const uint8_t*>(body.data()) + 9, body.size() - 9);
  const size_t size = encoder.end();  // a zero stands first
  return size ? std::string(reinterpret_cast<const char*>(encoder.line()) + 1, size - 1) : "";
}

std::string answer(char letter, const std::string& body) {
  switch (letter) {
    case 'E': return encoded(body);
    case 'D': return decoded(body);
    case 'N': running.reset(new Running(at(body, 0), at(body, 4))); return said();
    case 'F': running->line.incoming += body; return "";
    case 'C': running->line.now_us = at(body, 0) | static_cast<uint64_t>(at(body, 4)) << 32; return "";
    case 'L': running->sensor.failing = at(body, 0); return "";
    case 'W': running->line.room = at(body, 0); return "";
    case 'T':
      for (uint32_t turns = at(body, 0); turns > 0; --turns) {
        running->line.now_us += 100;
        running->board.turn();
      }
      return said();
  }
  return "";
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  std::FILE* source = std::fopen(arguments[1], "rb");
  std::FILE* target = std::fopen(arguments[2], "wb");
  if (!source || !target) return 2;
  uint8_t head[5];
  while (std::fread(head, 1, 5, source) == 5) {
    std::string body(number_at(head + 1, 4), 0);
    if (std::fread(&body[0], 1, body.size(), source) != body.size()) return 2;
    const std::string out = answer(static_cast<char>(head[0]), body);
    put_number(head, out.size(), 4);
    std::fwrite(head, 1, 4, target);
    std::fwrite(out.data(), 1, out.size(), target);
  }
  return std::fclose(target) ? 2 : 0;
}
