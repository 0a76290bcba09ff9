import { health } from "./api.js";
import { byId } from "./ui.js";

const { good, version } = await health();
const state = byId("state");
state.textContent = good ? "All systems are running" : "The service is not available right now";
state.className = `badge dot ${good ? "good" : "bad"}`;
byId("version").textContent = version ? `Release ${version}` : "";
