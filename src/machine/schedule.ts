// Who runs next and for how long: the interleaving of the vCPUs, as data. The vCPU that is furthest behind in virtual
// time goes next, for a seeded number of units, so that clocks stay together; or an explicit list of slices says it.
// A cursor is the position in a schedule; it is plain data, so that a snapshot can hold it.
// DIFFERS: memory order is sequentially consistent by interleaving unless store buffers are asked for; time is virtual, a unit for each instruction and what is
// modelled, and jumps to the next timer when every vCPU has halted.
import { xoroshiro128plus, xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { MAX_VCPUS } from "../../assembly/abi.ts";
import type { Machine, RunOutcome } from "./machine.ts";

/** One turn: a vCPU and its units of virtual time. */
export interface Slice {
  readonly vcpu: number;
  readonly units: number;
}

/** Slices that were handed out: a number each. */
export class SliceLog {
  #packed = new Float64Array(64);
  #length = 0;

  push(vcpu: number, units: number): void {
    if (this.#length === this.#packed.length) {
      const more = new Float64Array(this.#length * 2);
      more.set(this.#packed);
      this.#packed = more;
    }
    this.#packed[this.#length++] = units * MAX_VCPUS + vcpu;
  }

  slices(): readonly Slice[] {
    return Array.from(this.#packed.subarray(0, this.#length), (n) => ({
      vcpu: n % MAX_VCPUS,
      units: Math.floor(n / MAX_VCPUS),
    }));
  }
}

export interface Schedule {
  readonly seed: number;
  /** Units of a seeded slice, both ends included. */
  readonly min: number;
  readonly max: number;
  /** Slices that come first; then the seeded ones go on. */
  readonly slices: readonly Slice[];
}

export const DEFAULT_SLICE = { min: 20, max: 200 } as const;

export function seededSchedule(seed: number, slices: readonly Slice[] = []): Schedule {
  return { seed, ...DEFAULT_SLICE, slices };
}

/** Where a schedule stands. */
export interface Cursor {
  readonly next: number;
  readonly vcpu: number;
  readonly left: number;
  readonly rng: readonly number[];
  /** Whole slices since anybody executed something. */
  readonly resting: number;
  /** The vCPUs that had one of them, a bit each. */
  readonly rested: number;
  /** Instructions that had retired when the present slice began. */
  readonly began: number;
}

export type StopReason =
  | { readonly kind: "insns" }
  | { readonly kind: "idle" } // nothing can ever happen again
  | { readonly kind: "exit"; readonly vcpu: number; readonly outcome: RunOutcome };

export class Scheduler {
  readonly machine: Machine;
  readonly schedule: Schedule;
  /** Slices handed out since recording was switched on. */
  readonly recorded = new SliceLog();
  recording = false;
  #rng;
  #next = 0;
  #vcpu = 0;
  #left = 0;
  #resting = 0;
  #rested = 0;
  #began = 0;

  constructor(machine: Machine, schedule: Schedule) {
    this.machine = machine;
    this.schedule = schedule;
    this.#rng = xoroshiro128plus(schedule.seed);
  }

  cursor(): Cursor {
    return {
      next: this.#next,
      vcpu: this.#vcpu,
      left: this.#left,
      rng: this.#rng.getState(),
      resting: this.#resting,
      rested: this.#rested,
      began: this.#began,
    };
  }

  seek(c: Cursor): void {
    this.#next = c.next;
    this.#vcpu = c.vcpu;
    this.#left = c.left;
    this.#rng = xoroshiro128plusFromState(c.rng);
    this.#resting = c.resting;
    this.#rested = c.rested;
    this.#began = c.began;
  }

  #behind(): number {
    let best = 0;
    let least = this.machine.time(0);
    for (let v = 1; v < this.machine.nrVcpus; v++) {
      const t = this.machine.time(v);
      if (t < least) {
        least = t;
        best = v;
      }
    }
    return best;
  }

  #advance(): void {
    this.#began = this.machine.retired;
    const given = this.schedule.slices[this.#next];
    if (given) {
      this.#next++;
      this.#vcpu = given.vcpu % this.machine.nrVcpus;
      this.#left = given.units;
    } else {
      this.#vcpu = this.#behind();
      this.#left = uniformInt(this.#rng, this.schedule.min, this.schedule.max);
    }
    if (this.recording) this.recorded.push(this.#vcpu, this.#left);
  }

  /**
   * Runs until all vCPUs together have retired `until` instructions, a vCPU exits to the host, or nothing can happen
   * any more. Where it stops it can go on, with the same result as if it had not stopped.
   */
  run(until: number): StopReason {
    const m = this.machine;
    for (;;) {
      const missing = until - m.retired;
      if (missing <= 0) return { kind: "insns" };
      if (this.#left <= 0) this.#advance();
      const outcome = m.run(this.#vcpu, Math.min(this.#left, missing));
      this.#left -= outcome.used;
      // Of whole slices, so that it makes no difference where a run was cut.
      if (m.retired !== this.#began) {
        this.#resting = 0;
        this.#rested = 0;
      } else if (this.#left <= 0 && outcome.exit === "halt") {
        this.#rested |= 1 << this.#vcpu;
        if (++this.#resting >= 2 * m.nrVcpus && !this.#pass()) return { kind: "idle" };
      }
      if (outcome.exit !== "none" && outcome.exit !== "halt") {
        return { kind: "exit", vcpu: this.#vcpu, outcome };
      }
    }
  }

  /** Nobody has executed anything for a while: time passes at once. False when nothing is ever going to happen. */
  #pass(): boolean {
    const all = (1 << this.machine.nrVcpus) - 1;
    if (this.#rested === all) return this.#wake();
    this.#catchUp();
    return true;
  }

  /** Somebody is only ahead, by work that was modelled: who has halted comes to him, or to a timer before that. */
  #catchUp(): void {
    const m = this.machine;
    const rests = (v: number): boolean => ((this.#rested >> v) & 1) !== 0;
    const time = Array.from({ length: m.nrVcpus }, (_, v) => m.time(v));
    const next = Math.min(
      ...time.map((now, v) => {
        if (!rests(v)) return now;
        const at = m.timer(v) ?? Infinity;
        return at > now ? at : Infinity;
      }),
    );
    time.forEach((now, v) => {
      if (rests(v) && now < next) m.charge(v, next - now);
    });
  }

  /** Everybody has halted: time jumps to the next timer. False when there is none. */
  #wake(): boolean {
    const t = this.machine.untilTimer();
    if (t === undefined) return false;
    // A timer that is due fires at the next turn of its vCPU; one that stays due has interrupts off for ever.
    if (t === 0) return this.#resting < 64 * this.machine.nrVcpus;
    this.#resting = 0;
    for (let v = 0; v < this.machine.nrVcpus; v++) this.machine.charge(v, t);
    return true;
  }
}
