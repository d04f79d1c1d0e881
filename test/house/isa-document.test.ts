// docs/isa.md is what the instruction table says.
import { expect, test } from "vitest";
import { isaMarkdown, X86 } from "../../src/isa/index.ts";

test("docs/isa.md lists every form of the table", async () => {
  await expect(isaMarkdown(X86)).toMatchFileSnapshot("../../docs/isa.md");
});
