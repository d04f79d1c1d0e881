// The inputs of a form's vectors.
import { PER_FORM, type VectorForm } from "./forms.ts";
import { userCase, type VectorCase } from "./user-cases.ts";

export function casesOf(form: VectorForm): VectorCase[] {
  return Array.from({ length: PER_FORM }, (_, i) => userCase(form, i));
}
