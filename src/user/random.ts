// The program's randomness: bytes from a seed, for AT_RANDOM and getrandom. The same seed gives the same bytes.
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Answers the next n bytes. */
export type RandomBytes = (n: number) => Uint8Array;

export function randomBytes(seed: number): RandomBytes {
  const rng = xoroshiro128plus(seed);
  return (n) => Uint8Array.from({ length: n }, () => uniformInt(rng, 0, 255));
}
