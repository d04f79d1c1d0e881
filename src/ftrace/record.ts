// What the flags of a fentry site's record say: who traces it, what its instruction should be, what it is now. Pure; the
// rules and their order are those of kernel/trace/ftrace.c, and each function bears the name that it has there.
import { FTRACE_CONSTANTS } from "../kernel/index.ts";
import { hasFlag, type DynFtrace, type FtraceOps } from "./state.ts";

const F = FTRACE_CONSTANTS;

/** What has to be done to a site. */
export type FtraceUpdate = "ignore" | "make_call" | "modify_call" | "make_nop";

/** A record whose flags are being worked on. */
export interface WorkingRecord {
  readonly va: bigint;
  readonly ip: bigint;
  flags: number;
}

/** An ops as far as sites care; `hash` is the filter, empty for every site. */
export type SiteOps = Pick<FtraceOps, "va" | "flags" | "trampoline" | "hash">;

export function recCount(flags: number): number {
  return flags & F.FTRACE_REF_MAX;
}

/** ftrace_ops_test() as far as a record goes. */
export function opsTakes(ops: SiteOps, ip: bigint): boolean {
  return ops.hash.length === 0 || ops.hash.includes(ip);
}

function set(flags: number, bit: number, on: boolean): number {
  return (on ? flags | bit : flags & ~bit) >>> 0;
}

/**
 * Counts an ops in or out of the records that its filter takes.
 *
 * others   the ops that stay registered beside it
 * kernel   __ftrace_hash_rec_update()
 */
export function hashRecUpdate(
  recs: readonly WorkingRecord[],
  ops: SiteOps,
  inc: boolean,
  others: readonly SiteOps[],
): void {
  const regs = hasFlag(ops.flags, "FTRACE_OPS_FL_SAVE_REGS");
  for (const rec of recs) {
    if (!opsTakes(ops, rec.ip)) continue;
    if (inc) {
      rec.flags++;
      rec.flags = set(
        rec.flags,
        F.FTRACE_FL_TRAMP,
        recCount(rec.flags) === 1 && ops.trampoline !== 0n,
      );
      if (regs) rec.flags = set(rec.flags, F.FTRACE_FL_REGS, true);
    } else {
      if (recCount(rec.flags) === 0) throw new Error("ftrace: a record's count falls below 0");
      rec.flags--;
      const left = others.filter((o) => opsTakes(o, rec.ip));
      if (regs && !left.some((o) => hasFlag(o.flags, "FTRACE_OPS_FL_SAVE_REGS"))) {
        rec.flags = set(rec.flags, F.FTRACE_FL_REGS, false);
      }
      const alone = recCount(rec.flags) === 1 && left.some((o) => o.trampoline !== 0n);
      rec.flags = set(rec.flags, F.FTRACE_FL_TRAMP, alone);
    }
  }
}

/**
 * Takes the sites that an ops with IPMODIFY gains, and lets go of those that it loses.
 *
 * returns  false if another one has one of them: then nothing is changed
 * kernel   __ftrace_hash_update_ipmodify()
 */
export function hashUpdateIpmodify(
  recs: readonly WorkingRecord[],
  old: readonly bigint[],
  now: readonly bigint[],
): boolean {
  const gained = recs.filter((r) => now.includes(r.ip) && !old.includes(r.ip));
  if (gained.some((r) => hasFlag(r.flags, "FTRACE_FL_IPMODIFY"))) return false;
  for (const r of gained) r.flags = set(r.flags, F.FTRACE_FL_IPMODIFY, true);
  for (const r of recs) {
    if (old.includes(r.ip) && !now.includes(r.ip)) {
      r.flags = set(r.flags, F.FTRACE_FL_IPMODIFY, false);
    }
  }
  return true;
}

/** What a record's site needs. kernel: ftrace_check_record() with update false. */
export function ftraceTestRecord(flags: number, enable: boolean): FtraceUpdate {
  const isEnabled = hasFlag(flags, "FTRACE_FL_ENABLED");
  if (!enable || recCount(flags) === 0) return isEnabled ? "make_nop" : "ignore";
  if (!isEnabled) return "make_call";
  const differs =
    hasFlag(flags, "FTRACE_FL_REGS") !== hasFlag(flags, "FTRACE_FL_REGS_EN") ||
    hasFlag(flags, "FTRACE_FL_TRAMP") !== hasFlag(flags, "FTRACE_FL_TRAMP_EN");
  return differs ? "modify_call" : "ignore";
}

/** The flags once the site has been changed. kernel: ftrace_check_record() with update true. */
export function ftraceUpdateRecord(flags: number, enable: boolean): number {
  if (!enable || recCount(flags) === 0) {
    if (recCount(flags) === 0) return 0;
    return (flags & ~(F.FTRACE_FL_ENABLED | F.FTRACE_FL_REGS_EN | F.FTRACE_FL_TRAMP_EN)) >>> 0;
  }
  let now = set(flags, F.FTRACE_FL_ENABLED, true);
  now = set(now, F.FTRACE_FL_REGS_EN, hasFlag(flags, "FTRACE_FL_REGS"));
  return set(now, F.FTRACE_FL_TRAMP_EN, hasFlag(flags, "FTRACE_FL_TRAMP"));
}

/** Where the callers are that serve more than one ops. */
export interface Callers {
  readonly caller: bigint;
  readonly regsCaller: bigint;
}

/** Whom the site is to call. kernel: ftrace_get_addr_new() */
export function ftraceGetAddrNew(
  rec: DynFtrace,
  ops: readonly SiteOps[],
  { caller, regsCaller }: Callers,
): bigint {
  if (hasFlag(rec.flags, "FTRACE_FL_TRAMP")) {
    const own = ops.find((o) => o.trampoline !== 0n && opsTakes(o, rec.ip));
    if (own) return own.trampoline;
  }
  return hasFlag(rec.flags, "FTRACE_FL_REGS") ? regsCaller : caller;
}

/** Whom the site calls now, `ops` being as they were when it was written. kernel: ftrace_get_addr_curr() */
export function ftraceGetAddrCurr(
  rec: DynFtrace,
  ops: readonly SiteOps[],
  { caller, regsCaller }: Callers,
): bigint {
  if (hasFlag(rec.flags, "FTRACE_FL_TRAMP_EN")) {
    const own = ops.find((o) => o.trampoline !== 0n && opsTakes(o, rec.ip));
    if (own) return own.trampoline;
  }
  return hasFlag(rec.flags, "FTRACE_FL_REGS_EN") ? regsCaller : caller;
}
