// Devices behind ports and physical addresses where no RAM is. An access is one call in the middle of an instruction whose
// checks are all done, so a device sees each access once, and its state is part of a snapshot and of the state hash.
// What nobody answers to reads as ones, as an empty bus does: PCI's configuration ports say so that there is no PCI.

export type AccessSpace = "port" | "memory";

/** One access: `offset` bytes from the start of the range that the device named, 1, 2, 4 or 8 bytes wide. */
export interface DeviceAccess {
  readonly space: AccessSpace;
  readonly offset: number;
  readonly width: number;
}

/** Ports or physical addresses [start, end). */
export interface DeviceRange {
  readonly space: AccessSpace;
  readonly start: bigint;
  readonly end: bigint;
}

/** What a device may ask of the machine: an edge-triggered interrupt of a vCPU. */
export interface InterruptLines {
  interrupt(vcpu: number, vector: number): void;
}

export interface Device {
  readonly name: string;
  readonly ranges: readonly DeviceRange[];
  /** Value of a read; bits beyond the width do not count. */
  read(access: DeviceAccess): bigint;
  write(access: DeviceAccess, value: bigint): void;
  /** Everything that later answers depend on. */
  save(): Uint8Array;
  restore(state: Uint8Array): void;
  /** Called once, before the machine runs. */
  connect?(lines: InterruptLines): void;
}

/** The accesses that the core asks for. */
export interface Bus {
  portRead(port: number, n: number): number;
  portWrite(port: number, n: number, v: number): void;
  busRead(pa: bigint, n: number): bigint;
  busWrite(pa: bigint, n: number, v: bigint): void;
}

interface Found {
  readonly device: Device;
  readonly offset: number;
}

/** Finds the device of each access. Throws when two devices claim one address. */
export class DeviceBus implements Bus {
  readonly devices: readonly Device[];
  readonly #ranges: readonly { readonly range: DeviceRange; readonly device: Device }[];

  constructor(devices: readonly Device[]) {
    this.devices = devices;
    this.#ranges = devices.flatMap((device) => device.ranges.map((range) => ({ range, device })));
    this.#ranges.forEach((a, i) => {
      for (const b of this.#ranges.slice(i + 1)) {
        if (a.range.space !== b.range.space) continue;
        if (a.range.start < b.range.end && b.range.start < a.range.end) {
          throw new Error(
            `devices ${a.device.name} and ${b.device.name} both claim ${a.range.space} 0x${b.range.start.toString(16)}`,
          );
        }
      }
    });
  }

  #find(space: AccessSpace, at: bigint, n: number): Found | undefined {
    for (const { range, device } of this.#ranges) {
      if (range.space !== space || at < range.start || at + BigInt(n) > range.end) continue;
      return { device, offset: Number(at - range.start) };
    }
    return undefined;
  }

  #read(space: AccessSpace, at: bigint, n: number): bigint {
    const f = this.#find(space, at, n);
    const ones = (1n << BigInt(n * 8)) - 1n;
    return f ? f.device.read({ space, offset: f.offset, width: n }) & ones : ones;
  }

  #write(space: AccessSpace, at: bigint, n: number, v: bigint): void {
    const f = this.#find(space, at, n);
    f?.device.write({ space, offset: f.offset, width: n }, BigInt.asUintN(n * 8, v));
  }

  portRead(port: number, n: number): number {
    return Number(BigInt.asIntN(32, this.#read("port", BigInt(port), n)));
  }

  portWrite(port: number, n: number, v: number): void {
    this.#write("port", BigInt(port), n, BigInt(v));
  }

  busRead(pa: bigint, n: number): bigint {
    return BigInt.asIntN(64, this.#read("memory", BigInt.asUintN(64, pa), n));
  }

  busWrite(pa: bigint, n: number, v: bigint): void {
    this.#write("memory", BigInt.asUintN(64, pa), n, v);
  }

  save(): readonly Uint8Array[] {
    return this.devices.map((d) => d.save());
  }

  restore(states: readonly Uint8Array[]): void {
    this.devices.forEach((d, i) => d.restore(states[i] ?? new Uint8Array(0)));
  }
}
