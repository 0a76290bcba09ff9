// Talking to the control plane through the same origin; the session is an HttpOnly cookie.
const BASE = "/portal-admin-api";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function api(method, path, body) {
  const options = { method, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`${BASE}/api${path}`, options);
  } catch {
    throw new ApiError(0, "The service cannot be reached. Check the connection and try again.");
  }
  if (response.status === 204) return null;
  const value = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ApiError(response.status, value.error ?? `The service answered ${response.status}.`);
  }
  return value;
}

export async function health() {
  try {
    const response = await fetch(`${BASE}/healthz`, { cache: "no-store" });
    const good = response.ok && (await response.text()) === "ok";
    return { good, version: response.headers.get("X-App-Version") };
  } catch {
    return { good: false, version: null };
  }
}
