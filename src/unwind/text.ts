// What counts as kernel text: the kernel image's own between _stext and _etext, and what is executable of the modules
// and patches that are loaded beside it. Generated code is not text, as in the kernel.
import type { Image } from "../link/index.ts";
import { findSymbol, formatAddress, symbolAt } from "../link/index.ts";

interface Range {
  readonly lo: bigint;
  readonly hi: bigint;
}

function textOf(image: Image): readonly Range[] {
  const lo = findSymbol(image, "_stext");
  const hi = findSymbol(image, "_etext");
  if (lo !== undefined && hi !== undefined && lo.section === ".text") {
    return [{ lo: lo.va, hi: hi.va }];
  }
  return image.segments
    .filter((s) => s.flags.exec && !s.flags.user)
    .map((s) => ({ lo: s.va, hi: s.va + BigInt(s.memSize) }));
}

const known = new WeakMap<Image, readonly Range[]>();

/**
 * Whether va is text of one of the images.
 *
 * images  the kernel first, then modules and patches
 * kernel  kernel/extable.c, __kernel_text_address()
 */
export function kernelTextAddress(images: readonly Image[], va: bigint): boolean {
  return images.some((image) => {
    let ranges = known.get(image);
    if (ranges === undefined) {
      ranges = textOf(image);
      known.set(image, ranges);
    }
    return ranges.some((r) => va >= r.lo && va < r.hi);
  });
}

/** The address as %pS prints it, by the image that it lies in. */
export function formatText(images: readonly Image[], va: bigint): string {
  const image = images.find((i) => symbolAt(i, va) !== undefined) ?? images[0];
  return image === undefined ? `0x${va.toString(16)}` : formatAddress(image, va);
}
