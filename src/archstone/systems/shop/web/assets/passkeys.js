// Passkeys: asks the device, puts its answer into the form, and sends that.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const keys = (listed) => (listed ?? []).map((each) => ({ ...each, id: bytes(each.id) }));

// By hand, since the browsers of the last years do not all know `parseCreationOptionsFromJSON` and `toJSON`.
function asked(kind, options) {
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  if (kind === "get") return { publicKey: { ...publicKey, allowCredentials: keys(options.allowCredentials) } };
  const user = { ...options.user, id: bytes(options.user.id) };
  return { publicKey: { ...publicKey, user, excludeCredentials: keys(options.excludeCredentials) } };
}

function told(made) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (made.response[name]) response[name] = text(made.response[name]);
  }
  return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
}

const form = document.querySelector("form[data-passkey]");
const fault = form?.querySelector("[data-passkey-told]");
const say = (words) => { fault.textContent = words; fault.hidden = false; };

form?.addEventListener("submit", async (event) => {
  if (form.elements.answer.value) return;
  event.preventDefault();
  if (!window.PublicKeyCredential) return say("This browser, or this address of the shop, has no passkeys.");
  const { passkey: kind, options } = form.dataset;
  try {
    const made = await navigator.credentials[kind](asked(kind, JSON.parse(options)));
    form.elements.answer.value = told(made);
    form.requestSubmit();
  } catch (error) {
    const site = JSON.parse(options).rpId ?? JSON.parse(options).rp.id;
    const known = {
      InvalidStateError: "This device has a passkey for your account already.",
      SecurityError: `Passkeys of this shop work at ${site} only, and this page is at ${location.hostname}. Please open the shop there.`,
    };
    say(known[error.name] ?? "The device has not answered, was told not to, or has no passkey of this shop. Please try again, or use another way.");
  }
});
