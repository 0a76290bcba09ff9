import { api } from "./api.js";
import { act, badge, byId, el, notice, when, withSession } from "./ui.js";

async function show() {
  const [{ hosts }, { packs }] = await Promise.all([api("GET", "/hosts"), api("GET", "/packs")]);
  byId("hosts").replaceChildren(
    hosts.length
      ? el("div", { class: "scroll" }, el("table", {},
          el("thead", {}, el("tr", {}, ...["Name", "Address", "State", "Added"].map((t) => el("th", { scope: "col" }, t)))),
          el("tbody", {}, ...hosts.map((host) => el("tr", {},
            el("td", {}, host.name), el("td", {}, el("code", {}, host.base_url)),
            el("td", {}, badge(host.status, "good")), el("td", { class: "whole" }, when(host.created_at)))))))
      : el("p", { class: "empty" }, "No host is registered yet."),
  );
  byId("packs").replaceChildren(
    packs.length
      ? el("ul", { class: "list" }, ...packs.map((pack) => el("li", {},
          el("div", { class: "row spread" }, el("strong", {}, pack.name), badge(pack.version)),
          el("span", { class: "soft" }, `${pack.providers} provider${pack.providers === 1 ? "" : "s"}`))))
      : el("p", { class: "empty" }, "No pack is published yet."),
  );
}

byId("new-host").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  act(form.querySelector("button"), async () => {
    const host = await api("POST", "/hosts", Object.fromEntries(new FormData(form)));
    form.reset();
    await show();
    notice(`${host.name} is registered.`);
  });
});

withSession(show);
