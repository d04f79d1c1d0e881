// The report's door: verdicts in, text out. It sees no machine and touches no file.
export { asClaimed, type Expected } from "./claims.ts";
export { runsTable, runsText, type RunsContext } from "./runs.ts";
export { storyText } from "./story.ts";
