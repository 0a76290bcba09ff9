import { api } from "./api.js";
import { act, badge, byId, el, notice, when, withSession } from "./ui.js";

const form = byId("run");
const KINDS = { imported: "good", skipped: "", failed: "bad", completed: "good", completed_with_errors: "warn" };
const spoken = (status) => status.replaceAll("_", " ");

async function items(run, place) {
  const { items: rows } = await api("GET", `/batch-import/runs/${run.id}/items`);
  place.replaceChildren(el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Provider", "Account", "Result"].map((t) => el("th", { scope: "col" }, t)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {},
      el("td", {}, el("code", {}, row.provider_id)), el("td", {}, row.account),
      el("td", {}, badge(row.status, KINDS[row.status]), row.detail ? ` ${row.detail}` : "")))))));
}

function runItem(run) {
  const place = el("div", {});
  const details = el("details", {}, el("summary", {}, `${run.total} item${run.total === 1 ? "" : "s"}`), place);
  details.addEventListener("toggle", () => {
    if (details.open && !place.hasChildNodes()) items(run, place).catch((error) => notice(error.message, true));
  });
  return el("li", { "data-run": run.id },
    el("div", { class: "row spread" }, el("strong", {}, `Run ${run.id}`), badge(spoken(run.status), KINDS[run.status])),
    el("span", { class: "soft" }, when(run.created_at)), details);
}

async function show() {
  const [{ runs }, { hosts }] = await Promise.all([api("GET", "/batch-import/runs"), api("GET", "/hosts")]);
  byId("host").replaceChildren(...hosts.map((host) => el("option", { value: host.id }, host.name)));
  byId("no-host").hidden = hosts.length > 0;
  form.hidden = hosts.length === 0;
  byId("runs").replaceChildren(runs.length
    ? el("ul", { class: "list" }, ...runs.map(runItem))
    : el("p", { class: "empty" }, "No run yet."));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  act(form.querySelector("button.main"), async () => {
    const wanted = form.elements.items.value.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
      const [provider, account, key] = line.split(/[\s,]+/);
      return { provider_id: provider, account: account ?? "", api_key: key ?? "" };
    });
    const run = await api("POST", "/batch-import/runs", { host_id: Number(form.elements.host.value), items: wanted });
    form.elements.items.value = "";
    await show();
    notice(`Run ${run.id} is done: ${run.total - run.failed} of ${run.total} without a failure.`, run.failed > 0);
    document.querySelector(`[data-run="${run.id}"] details`).open = true;
  });
});

withSession(show);
