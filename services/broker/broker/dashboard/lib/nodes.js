// Nodes as GET /nodes tells them, in the form that the tables show.
import { milliseconds } from "./format.js";
import { nodeState } from "../parts/badge.js";

export const shown = (node, now) => ({
  ...node,
  state: nodeState(node),
  held: node.jobs_held,
  isolation: node.capabilities.isolation,
  heartbeatAge: Math.max(0, (now - milliseconds(node.last_heartbeat)) / 1000),
});
