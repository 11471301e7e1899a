// A call over WebRTC. What is not sound goes over the data channel, as RTVI messages: Pipecat's protocol for clients.

const RTVI_VERSION = "2.1.0";

/** Call the bot as `caller`; resolves when the bot has been reached. `heard` is given each message, `ended` the end. */
export async function startCall(caller, { voice, heard, ended }) {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const connection = new RTCPeerConnection();
  for (const track of microphone.getTracks()) connection.addTrack(track, microphone);
  const channel = connection.createDataChannel("chat", { ordered: true });

  const send = (type, data, id = crypto.randomUUID()) =>
    channel.send(JSON.stringify({ label: "rtvi-ai", type, id, data }));
  const hangUp = once(() => {
    for (const track of microphone.getTracks()) track.stop();
    connection.close();
    ended();
  });

  connection.ontrack = ({ track }) => { voice.srcObject = new MediaStream([track]); };
  connection.onconnectionstatechange = () => {
    if (["failed", "closed"].includes(connection.connectionState)) hangUp();
  };
  channel.onopen = () => send("client-ready", { version: RTVI_VERSION, about: { library: "edgememory-example" } });
  channel.onclose = hangUp;
  channel.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    // The transport has a few messages of its own, beside RTVI's.
    if (message.label === "rtvi-ai") heard(message);
    else if (message.message?.type === "peerLeft") hangUp();
  };

  try {
    await connect(connection, caller);
  } catch (error) {
    hangUp();
    throw error;
  }
  return { hangUp, ask: (what) => send("client-message", { t: what }) };
}

async function connect(connection, caller) {
  await connection.setLocalDescription();
  await gathered(connection);
  const { sdp, type } = connection.localDescription;
  const answer = await fetch("/api/offer", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sdp, type, request_data: { user_id: caller } }),
  });
  if (!answer.ok) throw new Error(`the bot answered ${answer.status}`);
  const { sdp: theirs, type: kind } = await answer.json();
  await connection.setRemoteDescription({ sdp: theirs, type: kind });
}

function gathered(connection) {
  return new Promise((resolve) => {
    const look = () => { if (connection.iceGatheringState === "complete") resolve(); };
    connection.addEventListener("icegatheringstatechange", look);
    look();
  });
}

function once(act) {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    act();
  };
}
