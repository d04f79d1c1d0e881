// Reports as JSON: the same value gives the same bytes. Keys come in their written order; addresses are "0x.." strings
// and counts are numbers, see docs/json.md.

/** Pretty JSON with a final newline. A 64-bit value is written as a "0x.." string. */
export function toJson(value: unknown): string {
  const replace = (_: string, v: unknown): unknown =>
    typeof v === "bigint" ? `0x${BigInt.asUintN(64, v).toString(16)}` : v;
  return `${JSON.stringify(value, replace, 2)}\n`;
}
