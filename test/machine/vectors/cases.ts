// The inputs of a form's vectors.
import { PER_FORM, needsGuest, type VectorForm } from "./forms.ts";
import { guestCase, type GuestVector } from "./guest-cases.ts";
import { userCase, type VectorCase } from "./user-cases.ts";

/** Of a form that needs a guest. */
export function guestCasesOf(form: VectorForm): GuestVector[] {
  return Array.from({ length: PER_FORM }, (_, i) => guestCase(form, i));
}

export function casesOf(form: VectorForm): VectorCase[] {
  if (needsGuest(form)) return guestCasesOf(form);
  return Array.from({ length: PER_FORM }, (_, i) => userCase(form, i));
}
