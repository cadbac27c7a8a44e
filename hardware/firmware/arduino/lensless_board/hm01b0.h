// The sensor HM01B0 of Himax on an RP2040: pixels come over one wire, through PIO and DMA, into one buffer.
//
// NOT RUN ON HARDWARE. The registers are those of its data sheet and of what several published drivers agree on. The
// micropython/hm01b0.py beside this does the same, register by register.
#pragma once

#include <Arduino.h>
#include <Wire.h>
#include <hardware/dma.h>
#include <hardware/pio.h>
#include <hardware/pwm.h>

#include "lensless_board.h"

namespace hm01b0 {

using namespace lensless;

constexpr uint8_t SDA_PIN = 4, SCL_PIN = 5, D0_PIN = 6, PCLK_PIN = 14, VSYNC_PIN = 16;
constexpr int MCLK_PIN = -1;  // a pin that gives the sensor its clock, e.g. 3; -1: the module has an oscillator
constexpr uint32_t MCLK_HZ = 24000000;

constexpr uint8_t ADDRESS = 0x24;
constexpr uint16_t MODE_SELECT = 0x0100, RESET = 0x0103, HOLD = 0x0104, INTEGRATION = 0x0202, ANALOG_GAIN = 0x0205;
constexpr uint16_t LINES = 0x0340, LINE_PIXELS = 0x0342, WINDOW = 0x3010;
constexpr uint16_t COLUMNS = 324, LINE_CLOCKS = 376;
constexpr uint32_t PIXEL_HZ = MCLK_HZ / 8;
constexpr uint32_t duration_us(uint64_t lines) {
  return static_cast<uint32_t>(lines * LINE_CLOCKS * 1000000 / PIXEL_HZ);
}
constexpr Mode MODES[] = {{244, COLUMNS, 8, "Mono8"}, {324, COLUMNS, 8, "Mono8"}};
constexpr uint32_t FEWEST_LINES[] = {260, 344};
constexpr uint32_t SHORTEST_US = duration_us(2), LONGEST_US = 1000000;
constexpr int32_t GAINS_MDB[] = {0, 6021, 12041, 18062};  // 1, 2, 4, 8

struct Register {
  uint16_t address;
  uint8_t value;
};

constexpr Register SET_UP[] = {
    {0x1000, 0x43}, {0x1001, 0x40}, {0x1002, 0x32}, {0x1003, 8}, {0x1006, 1}, {0x1007, 8},  // black level: 8
    {0x1008, 0},               // no pixel is replaced by its neighbours
    {0x2100, 0},               // no exposure by itself
    {0x020E, 1}, {0x020F, 0},  // digital gain 1
    {0x3022, 1},
    // Analog settings, as its maker gives them.
    {0x3044, 0x0A}, {0x3045, 0x00}, {0x3047, 0x0A}, {0x3050, 0xC0}, {0x3051, 0x42}, {0x3052, 0x50}, {0x3053, 0x00},
    {0x3054, 0x03}, {0x3055, 0xF7}, {0x3056, 0xF8}, {0x3057, 0x29}, {0x3058, 0x1F}, {0x3064, 0x00}, {0x3065, 0x04},
    {0x3059, 0x22},  // one wire
    {0x3060, 0x20},  // pixel clock: MCLK / 8; low bit first; PCLK only while there are pixels
    {0x3067, 0},     // clocked from outside
    {0x3068, 0x20},  // to be read while PCLK is high
};

// It stands by but for the frame that is wanted, so that no exposure is older than the request. `start_us` counts back
// from the last pixel: rows are read one by one, and each is exposed before it is read.
class Camera : public Sensor {
 public:
  // Whether the sensor is there.
  bool start() {
    if (MCLK_PIN >= 0) start_clock();
    Wire.setSDA(SDA_PIN);
    Wire.setSCL(SCL_PIN);
    Wire.begin();
    delay(50);
    if (read(0, 2) != 0x01B0) return false;
    write(RESET, 1);
    delay(200);
    write(MODE_SELECT, 0);
    for (const Register& each : SET_UP) write(each.address, each.value);
    load_program();
    dma_ = dma_claim_unused_channel(true);
    return configure({0, 10000, 0}) == nullptr;
  }

  const Settings& settings() override { return settings_; }

  const char* configure(const Settings& wanted) override {
    const uint64_t middle_us = wanted.exposure_us + duration_us(1) / 2;
    const uint32_t nearest = static_cast<uint32_t>(middle_us * PIXEL_HZ / (LINE_CLOCKS * 1000000ull));
    const uint32_t lines = nearest < 2 ? 2 : nearest;
    int32_t gain = 0;
    while (gain < 3 && wanted.gain_mdb > (GAINS_MDB[gain] + GAINS_MDB[gain + 1]) / 2) ++gain;
    const uint32_t fewest = FEWEST_LINES[wanted.mode];
    write(WINDOW, wanted.mode == 0);
    write(LINES, lines + 2 > fewest ? lines + 2 : fewest, 2);
    write(LINE_PIXELS, LINE_CLOCKS, 2);
    write(INTEGRATION, lines, 2);
    write(ANALOG_GAIN, gain << 4);
    write(HOLD, 1);
    const int32_t window = read(WINDOW), integration = read(INTEGRATION, 2), analog = read(ANALOG_GAIN);
    if (window < 0 || integration < 0 || analog < 0) return "the sensor does not answer; look at SDA and SCL";
    settings_ = {static_cast<uint8_t>(!(window & 1)), duration_us(integration), GAINS_MDB[analog >> 4 & 3]};
    return nullptr;
  }

  void begin() override {
    pio_sm_set_enabled(pio0, 0, false);
    pio_sm_init(pio0, 0, program_at_, &program_);  // empty, and at its first instruction again
    dma_channel_config control = dma_channel_get_default_config(dma_);
    channel_config_set_transfer_data_size(&control, DMA_SIZE_8);
    channel_config_set_read_increment(&control, false);
    channel_config_set_write_increment(&control, true);
    channel_config_set_dreq(&control, pio_get_dreq(pio0, 0, false));
    // The byte is at the high end of the word: bits come in from there.
    const volatile uint8_t* bytes = reinterpret_cast<const volatile uint8_t*>(&pio0->rxf[0]) + 3;
    dma_channel_configure(dma_, &control, pixels_, bytes, MODES[settings_.mode].rows * COLUMNS, true);
    pio_sm_set_enabled(pio0, 0, true);
    begun_us_ = time_us_64();
    write(MODE_SELECT, 1);
  }

  Look look(Taken& taken) override {
    const uint64_t now_us = time_us_64();
    const uint64_t whole_us = duration_us(MODES[settings_.mode].rows) + uint64_t{settings_.exposure_us};
    const bool waiting = dma_channel_is_busy(dma_);
    if (waiting && now_us - begun_us_ < 500000 + 2 * whole_us) return Look::waiting;
    give_up();
    if (waiting) return Look::failed;
    taken = {pixels_, now_us > whole_us ? now_us - whole_us : 0, UNKNOWN_TEMPERATURE};
    return Look::taken;
  }

  void give_up() override {
    pio_sm_set_enabled(pio0, 0, false);
    dma_channel_abort(dma_);
    write(MODE_SELECT, 0);
  }

 private:
  void start_clock() {
    const uint32_t period = clock_get_hz(clk_sys) / MCLK_HZ;
    gpio_set_function(MCLK_PIN, GPIO_FUNC_PWM);
    const uint32_t slice = pwm_gpio_to_slice_num(MCLK_PIN);
    pwm_set_wrap(slice, period - 1);
    pwm_set_gpio_level(MCLK_PIN, period / 2);
    pwm_set_enabled(slice, true);
  }

  void load_program() {
    static uint16_t code[5];
    code[0] = pio_encode_wait_gpio(false, VSYNC_PIN);
    code[1] = pio_encode_wait_gpio(true, VSYNC_PIN);
    code[2] = pio_encode_wait_gpio(true, PCLK_PIN);  // from here on again and again
    code[3] = pio_encode_in(pio_pins, 1);
    code[4] = pio_encode_wait_gpio(false, PCLK_PIN);
    static pio_program program = {};
    program.instructions = code;
    program.length = 5;
    program.origin = -1;
    program_at_ = pio_add_program(pio0, &program);
    program_ = pio_get_default_sm_config();
    sm_config_set_wrap(&program_, program_at_ + 2, program_at_ + 4);
    sm_config_set_in_pins(&program_, D0_PIN);
    sm_config_set_in_shift(&program_, true, true, 8);
    sm_config_set_fifo_join(&program_, PIO_FIFO_JOIN_RX);
    for (uint8_t pin : {D0_PIN, PCLK_PIN, VSYNC_PIN}) pio_gpio_init(pio0, pin);
  }

  // What is not written shows: no pixels come, or other settings are read back.
  void write(uint16_t address, uint32_t value, uint8_t bytes = 1) {
    Wire.beginTransmission(ADDRESS);
    Wire.write(static_cast<uint8_t>(address >> 8));
    Wire.write(static_cast<uint8_t>(address));
    while (bytes-- > 0) Wire.write(static_cast<uint8_t>(value >> 8 * bytes));
    Wire.endTransmission();
  }

  // -1 if there is no answer.
  int32_t read(uint16_t address, uint8_t bytes = 1) {
    Wire.beginTransmission(ADDRESS);
    Wire.write(static_cast<uint8_t>(address >> 8));
    Wire.write(static_cast<uint8_t>(address));
    if (Wire.endTransmission() != 0 || Wire.requestFrom(ADDRESS, bytes) != bytes) return -1;
    int32_t value = 0;
    while (bytes-- > 0) value = value << 8 | Wire.read();
    return value;
  }

  Settings settings_ = {0, 10000, 0};
  uint8_t pixels_[324 * COLUMNS];
  uint64_t begun_us_ = 0;
  int dma_ = -1;
  uint32_t program_at_ = 0;
  pio_sm_config program_ = {};
};

}  // namespace hm01b0
