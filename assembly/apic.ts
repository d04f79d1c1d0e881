// The local APICs in x2APIC mode: interrupt requests, priorities, the timer and IPIs between vCPUs. One count of the
// timer is one unit of virtual time. SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".
// DIFFERS: no xAPIC page, no logical destinations, no INIT and start-up IPIs; all vCPUs start with the machine.

import {
  APIC,
  APIC_SIZE,
  CURRENT,
  NR_VCPUS,
  P_ARMED,
  P_DEADLINE,
  P_DIVIDE,
  P_ICR,
  P_INITIAL,
  P_IRR,
  P_ISR,
  P_LVT_OTHER,
  P_LVT_TIMER,
  P_NMI,
  P_SENT,
  P_SVR,
  P_TPR,
  P_TSC_DEADLINE,
  TSC_ADJUST,
} from "./abi";

export const NEVER: u64 = ~(<u64>0);
const LVT_MASKED: u32 = 0x10000;
const TIMER_PERIODIC: u32 = 0x20000;
const TIMER_TSC: u32 = 0x40000;

export function apicOf(v: u32): usize {
  return APIC + v * APIC_SIZE;
}

function highest(p: usize): i32 {
  for (let i = 3; i >= 0; i--) {
    const w = load<u64>(p + (i << 3));
    if (w) return (i << 6) + 63 - <i32>clz<u64>(w);
  }
  return -1;
}

function request(p: usize, vector: u32): void {
  if (vector < 16) return;
  const w = p + P_IRR + ((vector >> 6) << 3);
  store<u64>(w, load<u64>(w) | ((<u64>1) << (vector & 63)));
}

/** The vector that this APIC would deliver now, or -1. */
export function pending(p: usize): i32 {
  if (!(load<u32>(p, P_SVR) & 0x100)) return -1;
  const v = highest(p + P_IRR);
  if (v < 0) return -1;
  const serving = highest(p + P_ISR);
  const tpr = <i32>load<u32>(p, P_TPR);
  const floor = max<i32>(serving >> 4, tpr >> 4);
  return v >> 4 > floor ? v : -1;
}

/** Moves a vector from requested to in service. */
export function accept(p: usize, vector: i32): void {
  const at = (vector >> 6) << 3;
  const b = (<u64>1) << (vector & 63);
  store<u64>(p + P_IRR + at, load<u64>(p + P_IRR + at) & ~b);
  store<u64>(p + P_ISR + at, load<u64>(p + P_ISR + at) | b);
}

export function eoi(p: usize): void {
  const v = highest(p + P_ISR);
  if (v < 0) return;
  const w = p + P_ISR + ((v >> 6) << 3);
  store<u64>(w, load<u64>(w) & ~((<u64>1) << (v & 63)));
}

function divisor(p: usize): u64 {
  const d = load<u32>(p, P_DIVIDE);
  const n = (d & 3) | ((d >> 1) & 4);
  return n == 7 ? 1 : (<u64>2) << n;
}

/** The timer has reached its deadline at virtual time `now`. */
export function fireTimer(p: usize): void {
  const lvt = load<u32>(p, P_LVT_TIMER);
  if (!(lvt & LVT_MASKED)) request(p, lvt & 0xff);
  if (lvt & TIMER_PERIODIC && load<u32>(p, P_INITIAL)) {
    const at = load<u64>(p, P_DEADLINE);
    store<u64>(p, at, P_ARMED);
    store<u64>(p, at + <u64>load<u32>(p, P_INITIAL) * divisor(p), P_DEADLINE);
    return;
  }
  store<u64>(p, NEVER, P_DEADLINE);
  store<u64>(p, 0, P_TSC_DEADLINE);
}

function arm(p: usize, now: u64): void {
  const n = load<u32>(p, P_INITIAL);
  store<u64>(p, now, P_ARMED);
  store<u64>(p, n ? now + <u64>n * divisor(p) : NEVER, P_DEADLINE);
}

function current(p: usize, now: u64): u64 {
  const end = load<u64>(p, P_DEADLINE);
  if (end == NEVER || end <= now || load<u32>(p, P_LVT_TIMER) & TIMER_TSC) return 0;
  return (end - now + divisor(p) - 1) / divisor(p);
}

/** An IPI as the ICR describes it. Delivery modes fixed and NMI. */
function send(p: usize, icr: u64): void {
  const vector = (<u32>icr) & 0xff;
  const nmi = ((icr >> 8) & 7) == 4;
  const shorthand = (<u32>(icr >> 18)) & 3;
  const dest = <u32>(icr >> 32);
  const self = load<u32>(CURRENT);
  for (let i: u32 = 0; i < load<u32>(NR_VCPUS); i++) {
    let hit = false;
    if (shorthand == 0) hit = dest == i || dest == 0xffffffff;
    else if (shorthand == 1) hit = i == self;
    else if (shorthand == 2) hit = true;
    else hit = i != self;
    if (!hit) continue;
    store<u64>(p, load<u64>(p, P_SENT) + 1, P_SENT);
    if (nmi) store<u32>(apicOf(i), 1, P_NMI);
    else request(apicOf(i), vector);
  }
}

/** Reads the x2APIC register of MSR 0x800 + n; NEVER for one that is reserved. */
export function apicRead(n: u32, now: u64): u64 {
  const p = apicOf(load<u32>(CURRENT));
  if (n == 0x02) return <u64>load<u32>(CURRENT);
  if (n == 0x03) return 0x50014;
  if (n == 0x08) return <u64>load<u32>(p, P_TPR);
  if (n == 0x0a) return <u64>(load<u32>(p, P_TPR) & 0xf0);
  if (n == 0x0d) return (<u64>1) << load<u32>(CURRENT);
  if (n == 0x0f) return <u64>load<u32>(p, P_SVR);
  if (n >= 0x10 && n <= 0x17) return <u64>load<u32>(p + P_ISR + ((n - 0x10) << 2));
  if (n >= 0x18 && n <= 0x1f) return 0;
  if (n >= 0x20 && n <= 0x27) return <u64>load<u32>(p + P_IRR + ((n - 0x20) << 2));
  if (n == 0x28) return 0;
  if (n == 0x30) return load<u64>(p, P_ICR);
  if (n == 0x32) return <u64>load<u32>(p, P_LVT_TIMER);
  if (n >= 0x33 && n <= 0x37) return <u64>load<u32>(p + P_LVT_OTHER + ((n - 0x33) << 2));
  if (n == 0x38) return <u64>load<u32>(p, P_INITIAL);
  if (n == 0x39) return current(p, now);
  if (n == 0x3e) return <u64>load<u32>(p, P_DIVIDE);
  return NEVER;
}

/** Writes it; false for a register that cannot be written. */
export function apicWrite(n: u32, v: u64, now: u64): bool {
  const p = apicOf(load<u32>(CURRENT));
  if (n == 0x08) store<u32>(p, (<u32>v) & 0xff, P_TPR);
  else if (n == 0x0b) eoi(p);
  else if (n == 0x0f) store<u32>(p, (<u32>v) & 0x1ff, P_SVR);
  else if (n == 0x28) return true;
  else if (n == 0x30) {
    store<u64>(p, v, P_ICR);
    send(p, v);
  } else if (n == 0x32) {
    // A change between the count and the deadline disarms the timer.
    if ((load<u32>(p, P_LVT_TIMER) ^ (<u32>v)) & TIMER_TSC) {
      store<u64>(p, NEVER, P_DEADLINE);
      store<u64>(p, 0, P_TSC_DEADLINE);
    }
    store<u32>(p, (<u32>v) & 0x710ff, P_LVT_TIMER);
  } else if (n >= 0x33 && n <= 0x37) store<u32>(p + P_LVT_OTHER + ((n - 0x33) << 2), <u32>v);
  else if (n == 0x38) {
    store<u32>(p, <u32>v, P_INITIAL);
    if (!(load<u32>(p, P_LVT_TIMER) & TIMER_TSC)) arm(p, now);
  } else if (n == 0x3e) {
    store<u32>(p, (<u32>v) & 0xb, P_DIVIDE);
    if (load<u64>(p, P_DEADLINE) != NEVER && !(load<u32>(p, P_LVT_TIMER) & TIMER_TSC)) arm(p, now);
  } else if (n == 0x3f) send(p, (v & 0xff) | 0x40000);
  else return false;
  return true;
}

/** IA32_TSC_DEADLINE. */
export function setTscDeadline(v: u64): void {
  const p = apicOf(load<u32>(CURRENT));
  if (!(load<u32>(p, P_LVT_TIMER) & TIMER_TSC)) return;
  store<u64>(p, v, P_TSC_DEADLINE);
  // The deadline is in the TSC's terms, the timer's in this vCPU's time.
  const adjust = load<u64>(TSC_ADJUST);
  store<u64>(p, !v ? NEVER : <i64>(v - adjust) > 0 ? v - adjust : 0, P_DEADLINE);
}

export function resetApic(v: u32): void {
  const p = apicOf(v);
  memory.fill(p, 0, APIC_SIZE);
  store<u64>(p, NEVER, P_DEADLINE);
  store<u32>(p, LVT_MASKED, P_LVT_TIMER);
  store<u32>(p, 0xff, P_SVR);
}
