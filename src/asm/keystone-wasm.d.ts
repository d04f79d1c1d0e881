// The part of keystone-wasm that engine.ts uses; the package ships types its exports do not name.
declare module "keystone-wasm" {
  export function loadKeystone(args?: Record<string, unknown>): Promise<void>;
  export class Keystone {
    constructor(arch: number, mode: number);
    asm(data: string): Uint8Array;
    close(): void;
  }
}
