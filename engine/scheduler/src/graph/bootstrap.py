import json,linecache,os,socket,sys,types
if sys.path and sys.path[0]=="":del sys.path[0]
s=socket.socket(fileno=os.dup(0))
l=os.dup(1)
n=os.open(os.devnull,os.O_RDONLY)
os.dup2(n,0)
os.close(n)
os.dup2(2,1)
sys.stdout.reconfigure(line_buffering=True)
def take(n):
    b=b""
    while len(b)<n:
        p=s.recv(n-len(b))
        if not p:os._exit(0)
        b+=p
    return b
o=json.loads(take(int.from_bytes(take(4),"little")))
def load(name):
    f="<daskjob "+name+".py>"
    t=o["sources"][name]
    linecache.cache[f]=(len(t),None,t.splitlines(True),f)
    m=types.ModuleType("_daskjob_"+name)
    sys.modules[m.__name__]=m
    exec(compile(t,f,"exec"),m.__dict__)
    return m
o["options"]["load"]=load
load("graph_helper").main(s,l,o["options"])
