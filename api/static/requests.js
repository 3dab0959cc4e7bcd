// Asks the API; what is wrong comes as an error with the words of the problem document.

export async function answer(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (!response.ok) throw new Error(words(response.status, await response.text()));
  return response.json();
}

// What a problem document (RFC 9457) says, or the status where the answer is none.
export function words(status, body) {
  try {
    const { title, detail } = JSON.parse(body);
    return detail || title;
  } catch {
    return `The server answered ${status}.`;
  }
}
