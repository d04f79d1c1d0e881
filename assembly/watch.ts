// Watches: labels and ranges of guest code at which something is to be noticed before an instruction executes. They
// are looked up when code is decoded, so that unwatched code pays nothing. An instruction in two pages has one for the second.

import {
  ARENA,
  Exit,
  LOG,
  LOG_COUNT,
  LOG_ENTRIES,
  LOG_SIZE,
  CPL,
  CURRENT,
  L_CPL,
  L_ID,
  L_INSN,
  L_RIP,
  L_RSP,
  L_TIME,
  L_VCPU,
  MAX_WATCHES,
  NR_WATCHES,
  RAX,
  RSP,
  WATCH,
  WATCH_SIZE,
  W_HI,
  W_ID,
  W_KIND,
  W_LO,
  W_OFF,
  W_REG,
  Watch,
} from "./abi";
import { codeWritten, secondPage } from "./block";
import { peekPa, forgetFault, reach } from "./mmu";
import { declare } from "./shadow";
import { exit, insnsBefore, ripOf, timeAt } from "./state";

/** The next watch from entry `i` on that covers an instruction [va, va + n), or MAX_WATCHES. */
export function findWatch(i: u32, va: u64, n: u32): u32 {
  const nr = load<u32>(NR_WATCHES);
  for (; i < nr; i++) {
    const w = WATCH + i * WATCH_SIZE;
    const kind = load<u32>(w, W_KIND);
    if (!kind) continue;
    if (kind == Watch.Range) {
      if (va < load<u64>(w, W_HI) && load<u64>(w, W_LO) < va + n) return i;
    } else if (va == load<u64>(w, W_LO)) return i;
  }
  return MAX_WATCHES;
}

/** After a watch was set or cleared: the code under it is decoded anew. */
export function watchChanged(lo: u64, hi: u64): void {
  for (let va = lo; va < hi; va = (va | 4095) + 1) {
    const pa = peekPa(va);
    const end = min<u64>(hi, (va | 4095) + 1);
    if (pa == ~(<u64>0)) continue;
    codeWritten(pa, <u32>(end - va));
  }
}

// The instruction at which the last Stop watch ended a run: it is passed when the run goes on.
let stoppedAt: u64 = ~(<u64>0);
let stoppedVcpu: u32 = 0;

/** Acts on a watch; false when the run is to end before the instruction. The tail of a block stands for its second page. */
export function watched(up: usize, w: usize): bool {
  if (w >= <usize>ARENA) return secondPage(up, w);
  const kind = load<u32>(w, W_KIND);
  if (kind == Watch.Frame || kind == Watch.NewStack) {
    const va = load<u64>(RAX + (load<i32>(w, W_REG) << 3)) + <u64>(<i64>load<i32>(w, W_OFF));
    const p = reach<u64>(va, 0);
    if (p) declare(va, load<u64>(p), kind == Watch.NewStack);
    else forgetFault();
    return true;
  }
  const n = insnsBefore(up);
  if (kind == Watch.Stop) {
    if (stoppedAt == n && stoppedVcpu == load<u32>(CURRENT)) return true;
    stoppedAt = n;
    stoppedVcpu = load<u32>(CURRENT);
    exit(Exit.Stop, <u64>load<u32>(w, W_ID));
    return false;
  }
  const c = load<u32>(LOG_COUNT);
  if (c >= <u32>LOG_ENTRIES) {
    exit(Exit.LogFull, 0);
    return false;
  }
  const l = LOG + c * LOG_SIZE;
  store<u64>(l, n, L_INSN);
  store<u64>(l, ripOf(up), L_RIP);
  store<u64>(l, load<u64>(RSP), L_RSP);
  store<u16>(l, <u16>load<u32>(CURRENT), L_VCPU);
  store<u16>(l, <u16>load<u32>(CPL), L_CPL);
  store<u32>(l, load<u32>(w, W_ID), L_ID);
  store<u64>(l, timeAt(up), L_TIME);
  store<u32>(LOG_COUNT, c + 1);
  return true;
}

export function forgetStop(): void {
  stoppedAt = ~(<u64>0);
}
