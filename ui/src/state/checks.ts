// The doctor's findings in words.

import type { Check, CheckSeverity } from "../bindings";
import { m } from "../paraglide/messages.js";

export function severityLabel(severity: CheckSeverity): string {
  switch (severity) {
    case "fine":
      return m.check_fine();
    case "note":
      return m.check_note();
    case "warning":
      return m.check_warning();
    case "problem":
      return m.check_problem();
  }
}

/** One sentence about all of them. */
export function checkSummary(checks: readonly Check[]): string {
  const count = (severity: CheckSeverity) => checks.filter((check) => check.severity === severity).length;
  const problems = count("problem");
  const warnings = count("warning");
  if (problems > 0) return m.doctor_problems({ count: problems });
  if (warnings > 0) return m.doctor_warnings({ count: warnings });
  return m.doctor_fine();
}
