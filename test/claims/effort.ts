// What a mechanism makes the kernel do, counted from the request to the outcome by watches on the kernel's own functions, by
// the APICs, and for restarts to the end of the workload. Not what it costs in time: that is latency and pause.
import { findSymbol } from "../../src/link/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import { jobOf, type Mechanism } from "../../src/patch/index.ts";
import type { Prepared } from "../../src/explore/index.ts";

/**
 * applied   runs that came to it
 * signals   fake signals; kicks: tasks that were running and got an IPI for it; parks: requests to kernel threads
 * wakeUps   calls of try_to_wake_up by patchd, whether the task slept or not
 * stays     tasks that stopped at the checkpoint; passes: tasks that went through it
 * stops     CPUs in multi_cpu_stop; pokes: INT3 rendezvous of all CPUs
 * ipis      sent by all APICs
 * restarts  system calls that a signal took out of their sleep, or out of their entry, and that began again
 */
export interface Effort {
  readonly applied: number;
  readonly signals: number;
  readonly kicks: number;
  readonly wakeUps: number;
  readonly parks: number;
  readonly stays: number;
  readonly passes: number;
  readonly stops: number;
  readonly pokes: number;
  readonly ipis: number;
  readonly restarts: number;
}

const ID = 1 << 23;
const WATCHED = [
  "send_fake_signal",
  "arch_smp_send_reschedule",
  "try_to_wake_up",
  "kthread_park_async",
  "checkpoint_stop",
  "checkpoint_pass",
  "multi_cpu_stop",
  "smp_sync_cores",
  "do_syscall_64",
] as const;
type Watched = (typeof WATCHED)[number];

const watched = new WeakSet<object>();

function watch(p: Prepared): void {
  if (watched.has(p.session)) return;
  watched.add(p.session);
  WATCHED.forEach((name, i) => {
    const s = findSymbol(p.session.image, name);
    if (s === undefined) throw new Error(`no ${name}`);
    p.session.watch({ kind: "entry", lo: s.va, id: ID + i });
  });
}

function ipis({ session: { machine } }: Prepared): number {
  let n = 0;
  for (let v = 0; v < machine.nrVcpus; v++) n += machine.ipisSent(v);
  return n;
}

/** System calls that a workload makes until it is done. */
function systemCalls(p: Prepared): number {
  const id = ID + WATCHED.indexOf("do_syscall_64");
  return [...p.session.events().records].filter((r) => r.id === id).length;
}

function rewind(p: Prepared, seed: number): void {
  watch(p);
  p.session.restore(p.ready);
  p.session.reschedule(seededSchedule(seed));
}

function finish(p: Prepared): void {
  const { session, readyAt, built } = p;
  const stop = session.run(readyAt + built.scenario.budgetInsns, new Set(["done", "bug"]));
  if (stop !== "done" && session.events().doneAt === undefined) throw new Error(`ended by ${stop}`);
}

/** Several runs together. */
export function sum(all: readonly Effort[]): Effort {
  const of = (k: keyof Effort): number => all.reduce((n, e) => n + e[k], 0);
  return {
    applied: of("applied"),
    signals: of("signals"),
    kicks: of("kicks"),
    wakeUps: of("wakeUps"),
    parks: of("parks"),
    stays: of("stays"),
    passes: of("passes"),
    stops: of("stops"),
    pokes: of("pokes"),
    ipis: of("ipis"),
    restarts: of("restarts"),
  };
}

/** One run. at: instructions from the ready mark to the request. */
export function effort(
  p: Prepared,
  m: Mechanism,
  { seed, at }: { readonly seed: number; readonly at: number },
): Effort {
  const { session } = p;
  rewind(p, seed);
  finish(p);
  const usual = systemCalls(p);
  rewind(p, seed);
  const patchd = session.tasks().find((t) => t.comm === "patchd");
  if (patchd === undefined) throw new Error("no patchd");
  session.run(p.readyAt + at);
  const before = ipis(p);
  const asked = session.events().records.length;
  session.request(jobOf(m, p.request));
  session.run(p.readyAt + p.built.scenario.budgetInsns, new Set(["outcome", "bug"]));
  const records = session.events().records.slice(asked);
  const sent = ipis(p) - before;
  const count = (name: Watched, isOwn: boolean): number =>
    records.filter(
      (r) =>
        r.id === ID + WATCHED.indexOf(name) &&
        (!isOwn || (r.rsp > patchd.stack.lo && r.rsp <= patchd.stack.hi)),
    ).length;
  const applied = session.agent.outcome?.result === "applied" ? 1 : 0;
  if (session.events().doneAt === undefined) finish(p);
  return {
    applied,
    signals: count("send_fake_signal", true),
    kicks: count("arch_smp_send_reschedule", true),
    wakeUps: count("try_to_wake_up", true),
    parks: count("kthread_park_async", true),
    stays: count("checkpoint_stop", false) - count("checkpoint_pass", false),
    passes: count("checkpoint_pass", false),
    stops: count("multi_cpu_stop", false),
    pokes: count("smp_sync_cores", true),
    ipis: sent,
    restarts: systemCalls(p) - usual,
  };
}

/** One line for each count, one column for each policy. */
export function table(columns: Readonly<Record<string, Effort>>): string {
  const names = Object.keys(columns);
  const cell = (s: string): string => s.padStart(8);
  const rows: (keyof Effort)[] = [
    "applied",
    "signals",
    "kicks",
    "wakeUps",
    "parks",
    "stays",
    "passes",
    "stops",
    "pokes",
    "ipis",
    "restarts",
  ];
  const line = (k: keyof Effort): string =>
    k.padEnd(8) + names.map((n) => cell(String(columns[n]?.[k] ?? ""))).join("");
  return [" ".repeat(8) + names.map(cell).join(""), ...rows.map(line), ""].join("\n");
}
