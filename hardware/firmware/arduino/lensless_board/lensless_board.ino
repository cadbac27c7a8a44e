// A Raspberry Pi Pico with an HM01B0, for the core "Raspberry Pi Pico/RP2040" of Earle F. Philhower.
//
// NOT RUN ON HARDWARE, and not compiled for it: neither this file nor hm01b0.h. What lensless_codec.h and
// lensless_board.h do is tested (../../README.md).
#include "hm01b0.h"
#include "lensless_board.h"

struct Usb : lensless::Line {
  size_t read(uint8_t* data, size_t most) override {
    size_t size = 0;
    while (size < most && Serial.available() > 0) data[size++] = static_cast<uint8_t>(Serial.read());
    return size;
  }

  // Fewer than all where the host has taken nothing for half a second.
  size_t write(const uint8_t* data, size_t size) override {
    size_t out = 0;
    for (uint32_t since = millis(); out < size && millis() - since < 500;) {
      const size_t room = Serial.availableForWrite();
      const size_t sent = room ? Serial.write(data + out, room < size - out ? room : size - out) : 0;
      out += sent;
      if (sent) since = millis();
    }
    return out;
  }

  uint64_t clock_us() override { return time_us_64(); }
};

hm01b0::Camera camera;
Usb usb;
lensless::Facts facts = {nullptr, "Raspberry Pi Pico", "HM01B0", "1.0", hm01b0::MODES, 2, hm01b0::SHORTEST_US,
                         hm01b0::LONGEST_US, 0, 18062, 8, true};

uint32_t drawn() {
  const uint32_t number = rp2040.hwrand32();
  return number ? number : 1;
}

void setup() {
  pinMode(LED_BUILTIN, OUTPUT);
  Serial.begin(115200);
  Serial.ignoreFlowControl(true);
  facts.serial = rp2040.getChipID();
  while (!camera.start()) {  // it blinks for as long as there is no sensor
    digitalWrite(LED_BUILTIN, !digitalRead(LED_BUILTIN));
    delay(200);
  }
  digitalWrite(LED_BUILTIN, LOW);
}

void loop() {
  static lensless::Board board(camera, usb, facts, drawn());
  static bool started = false;
  if (!started) board.start();
  started = true;
  board.turn();
}
