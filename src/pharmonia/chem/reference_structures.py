"""Structures on which two installations of RDKit are most likely to differ: written by hand, and built from parts.

Tautomers, zwitterions, salts, charges, metals, isotopes, stereo, odd rings and odd valences. The molecules are made
up or in common use; none was measured by anybody.
"""

TAUTOMERS = r"""
    Oc1ccccn1 O=c1cccc[nH]1 Oc1ccncc1 O=c1cc[nH]cc1 Oc1cccnc1 Sc1ccccn1 S=c1cccc[nH]1 Nc1ccccn1 N=c1cccc[nH]1
    Nc1nccc(O)n1 Nc1nccc(=O)[nH]1 Nc1ccnc(=O)[nH]1 Nc1ccnc(O)n1 O=c1[nH]cnc2[nH]cnc12 O=c1nc[nH]c2nc[nH]c12
    Oc1ncnc2[nH]cnc12 Nc1nc2[nH]cnc2c(=O)[nH]1 Nc1nc(O)c2nc[nH]c2n1 Nc1ncnc2[nH]cnc12 Nc1ncnc2nc[nH]c12
    O=c1[nH]c(=O)c2[nH]cnc2[nH]1 Cn1c(=O)[nH]c2nc[nH]c2c1=O Cn1cnc2c1c(=O)[nH]c(=O)n2C O=c1cc[nH]c(=O)[nH]1 Oc1ccnc(O)n1
    Cc1c[nH]c(=O)[nH]c1=O O=C1CC(=O)NC(=O)N1 CCC1(CC)C(=O)NC(=O)NC1=O OC1=NC(=O)C(CC)(CC)C(=O)N1 CC(=O)CC(C)=O
    CC(O)=CC(C)=O CC(=O)CC(=O)OCC CC(O)=CC(=O)OCC O=C1CCCCC1=O OC1=CCCCC1=O CC(=O)C=C(C)O O=C1CC(=O)CC(C)(C)C1
    OC1=CC(=O)CC(C)(C)C1 C=C(O)c1ccccc1 CC(=O)c1ccccc1 CC(C)=NO CC(C)N=O O=NC1CCCCC1 ON=C1CCCCC1 CC=NO C=CNO CC(=N)C
    CC(N)=C CC(=NC)C c1c[nH]cn1 Cc1c[nH]cn1 Cc1cnc[nH]1 c1ccc2[nH]cnc2c1 Cc1ccc2[nH]cnc2c1 Cc1ccc2nc[nH]c2c1 c1cc[nH]n1
    Cc1cc[nH]n1 Cc1ccn[nH]1 c1ccc2[nH]ncc2c1 c1ccc2n[nH]cc2c1 c1nn[nH]n1 Cc1nn[nH]n1 Cc1nnn[nH]1 c1nnc[nH]1 c1nc[nH]n1
    c1c[nH]nn1 c1cn[nH]n1 c1ccc2[nH]nnc2c1 c1ccc2n[nH]nc2c1 Oc1cc[nH]n1 O=c1cc[nH][nH]1 O=C1CC=NN1
    CC1=NN(c2ccccc2)C(=O)C1 Cc1cc(O)n(-c2ccccc2)n1 Cc1cc(=O)n(-c2ccccc2)[nH]1 O=C1Nc2ccccc2C1 Oc1cc2ccccc2[nH]1
    O=C1C=CC(=O)C=C1 Oc1ccc(O)cc1 Oc1ccc2ccccc2c1N=Nc1ccccc1 O=C1C=Cc2ccccc2C1=NNc1ccccc1 N=C(N)N NC(N)=N CNC(=N)N
    CN=C(N)N N=C(N)c1ccccc1 NC(=N)NC#N N#CN=C(N)N NC(=S)N N=C(S)N CC(=O)N CC(O)=N CC(=S)N CC(S)=N O=C1CCCN1 OC1=NCCC1
    O=C1NC(=O)c2ccccc21 OC1=NC(=O)c2ccccc21 O=C1NS(=O)(=O)c2ccccc21 OC1=NS(=O)(=O)c2ccccc21 CS(=O)(=O)Nc1ccccn1
    CS(=O)(=O)N=c1cccc[nH]1 Nc1nccs1 N=c1[nH]ccs1 Nc1nc2ccccc2[nH]1 N=c1[nH]c2ccccc2[nH]1 O=c1[nH]c2ccccc2[nH]1
    Oc1nc2ccccc2[nH]1 Sc1nc2ccccc2[nH]1 S=c1[nH]c2ccccc2[nH]1 O=C1N=CC=C1 OC1=CC=NC1 CC1=CC(=O)NN1 O=c1cc(O)c2ccccc2o1
    O=c1c(O)c(-c2ccccc2)oc2cc(O)cc(O)c12 O=C1CC(c2ccccc2)Oc2cc(O)cc(O)c21 CC1=C(O)C(=O)c2ccccc2C1=O
    OC1=C(O)C(=O)OC1C(O)CO O=C1OC(C(O)CO)C(O)=C1O O=C1C=C(O)C(=O)C=C1O O=c1ccocc1 O=c1cccco1 O=c1c(O)cccn1C
    O=C(O)C(=O)CC(=O)O O=C(O)C(O)=CC(=O)O N=C1NC(=O)CN1C CN1CC(=O)NC1=N CN1CC(=O)N=C1N Nc1nc(N)nc(N)n1 Oc1nc(O)nc(O)n1
    O=c1[nH]c(=O)[nH]c(=O)[nH]1 Nc1nc(=O)c2ncc(CNc3ccccc3)nc2[nH]1
"""
CHARGED = r"""
    [NH3+]CC([O-])=O NCC(=O)O C[N+](C)(C)CC([O-])=O C[C@H]([NH3+])C([O-])=O C[C@@H](N)C(=O)O [NH3+]CCS([O-])(=O)=O
    NCCS(=O)(=O)O [O-]C(=O)c1cccc[nH+]1 OC(=O)c1ccccn1 [O-]C(=O)c1ccc[nH+]c1 C[n+]1cccc(C([O-])=O)c1
    [NH3+]c1ccc(S(=O)(=O)[O-])cc1 Nc1ccc(S(=O)(=O)O)cc1 OP(O)(=O)CNCC(=O)O [O-]P(O)(=O)CNCC(=O)O NCCOP(=O)(O)O
    [NH3+]CCOP(=O)([O-])O C[N+](C)(C)CCOP(=O)([O-])OCC(O)CO NCCCC[C@H](N)C(=O)O [NH3+]CCCC[C@H]([NH3+])C([O-])=O
    N=C(N)NCCC[C@H](N)C(=O)O OC(=O)CC(N)C(=O)O NC(Cc1c[nH]cn1)C(=O)O [NH3+]C(Cc1c[nH]cn1)C([O-])=O
    NC(Cc1ccc(O)cc1)C(=O)O SCC(N)C(=O)O C[N+](=O)[O-] CN(=O)=O c1ccccc1N(=O)=O c1ccccc1[N+](=O)[O-] C[N+]#[C-] C[N+]#N
    CN=[N+]=[N-] CN=N#N C=[N+]=[N-] CC(=[N+]=[N-])C(=O)OC c1cc[n+]([O-])cc1 O=n1ccccc1 CS(C)=O C[S+](C)[O-] CS(=O)(=O)C
    C[S+2]([O-])([O-])C C[N+](C)(C)[O-] CN(C)(C)=O CP(C)(C)=O C[P+](C)(C)[O-] CC(=O)[O-] CC([O-])=CC(C)=O [O-]c1ccccc1
    [O-][N+](=O)c1ccc([O-])cc1 C[NH3+] C[NH+](C)C C[N+](C)(C)C c1cc[nH+]cc1 C[n+]1ccccc1 c1c[nH+]c[nH]1 [nH+]1ccccc1O
    CC(N)=[NH2+] NC(N)=[NH2+] CC(=[NH2+])[O-] [S-]C#N SC#N N=C=S [N-]=C=S [C-]#N CC#N [O-]Cl(=O)(=O)=O
    [O-][Cl+3]([O-])([O-])[O-] CCOP(=O)(O)O CCOP([O-])([O-])=O OB(O)c1ccccc1 O[B-](O)(O)c1ccccc1 F[B-](F)(F)F
    C[Si](C)(C)C F[P-](F)(F)(F)(F)F CC(C)(C)[N+]([O-])=Cc1ccccc1 C1=[N+]([O-])CCC1 O=[N+]([O-])OCC(O)CO ON=O O=NO
    [O-]N=Nc1ccccc1 C[N+](C)=C1C=CC(=C(c2ccccc2)c2ccc(N(C)C)cc2)C=C1 CN(C)c1ccc2nc3ccc(N(C)C)cc3[s+]c2c1
    C[N+](C)=c1ccc2nc3ccc(N(C)C)cc3sc-2c1 [O-][n+]1onc2ccccc21 C[n+]1cn(C)c2c1c(=O)n(C)c(=O)n2C C[I+]C
    c1ccc([I+]c2ccccc2)cc1 [O-][I+]c1ccccc1 O=Ic1ccccc1 C[Se](=O)C C[As](=O)(O)O C[Te]C [CH2-][N+](C)(C)C [CH2+]C=C
    C[CH-]C(C)=O [O]N1C(C)(C)CCCC1(C)C [CH3] [OH-] [H+] [NH4+] [H][H] [O-][O-]
"""
SALTS = r"""
    CC(=O)O.NCc1ccccc1 CC(=O)[O-].[NH3+]Cc1ccccc1 [Na+].[O-]C(=O)c1ccccc1 [Na]OC(=O)c1ccccc1 [K+].[O-]c1ccccc1 [Li]CCCC
    C[Mg]Br Br[Mg]c1ccccc1 [Ca+2].[O-]C(=O)C.[O-]C(=O)C Cl.CN(C)CCOC(c1ccccc1)c1ccccc1 Cl.Cl.NCCN Br.CN1CCCC1c1cccnc1
    OS(O)(=O)=O.CNCC(O)c1ccccc1 OC(=O)C(O)C(O)C(O)=O.CNCC(O)c1ccccc1 OC(=O)/C=C\C(O)=O.CN(C)CCC(c1ccccc1)c1ccccn1
    OC(=O)/C=C/C(O)=O.CCN OC(=O)CC(O)(C(O)=O)CC(O)=O.CN1CCNCC1 Cc1ccc(S(O)(=O)=O)cc1.NCCc1ccccc1 CS(O)(=O)=O.CN(C)C
    OC(=O)C(F)(F)F.C1CCNCC1 O.O.O=C(O)c1ccccc1 CCO.OC(=O)c1ccccc1 CS(C)=O.Oc1ccccc1 [Cl-].C[N+](C)(C)CCOC(C)=O
    [I-].C[n+]1ccccc1C=NO [Na+].[Na+].[O-]P([O-])(=O)OCC [Na+].CC1=CC(=O)[N-]S(=O)(=O)O1
    [Na+].O=C1[N-]S(=O)(=O)c2ccccc21 [Zn+2].[O-]C(=O)C.[O-]C(=O)C [Fe] [Fe+2].c1cc[cH-]c1.c1cc[cH-]c1 N[Pt](N)(Cl)Cl
    [NH3][Pt](Cl)(Cl)[NH3] Cl[Pd]Cl C[Hg]Cl CC[Hg]Sc1ccccc1C(=O)O [Au]SC1OC(CO)C(O)C(O)C1O CCP(CC)(CC)=[Au]S [Na+].[Cl-]
    Cl O [Cu+2].NCC(=O)[O-].NCC(=O)[O-] O=C(O)c1ccccc1.O=C(O)c1ccccc1 c1ccccc1.Cc1ccccc1 [Al+3].[OH-].[OH-].[OH-]
    [Bi+3].OC(=O)c1ccccc1O C[Sn](C)(C)C [Gd+3].NCCN O=[Ti]=O O[Si](O)(O)O [Ag+].[N-]1C=CN=C1 CN(C)C(=N)NC(=N)N.Cl
    NC(=N)NC(=N)Nc1ccccc1.Cl [Na+].[O-][N+](=O)c1ccc(S([O-])(=O)=O)cc1.[K+] CCN(CC)CC.Cl.Cl
"""
STEREO = r"""
    C[C@H](O)CC C[C@@H](O)CC CC(O)CC F/C=C/F F/C=C\F FC=CF C[C@H]1CC[C@@H](C)CC1 C[C@H]1CC[C@H](C)CC1
    OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O OCC(O)C(O)C(O)C(O)C=O
    C[C@@H](N)C(=O)N[C@@H](C)C(=O)O [2H]C([2H])([2H])O [13CH3]O [2H]c1ccccc1 [3H]CC [18F]c1ccccc1 [14C](=O)=O
    [H]C([H])([H])C [H]N([H])C C[S@](=O)c1ccccc1 C[S@@](=O)c1ccccc1 CC=C=CC C/C=C=C/C C[P@](=O)(O)c1ccccc1
    O=C1C[C@@H]2CC[C@H]1C2 CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2 C[C@]12CC[C@H]3[C@@H](CCc4cc(O)ccc43)[C@@H]1CC[C@@H]2O
    C[C@]12CCC(=O)C=C1CC[C@@H]1[C@@H]2CC[C@]2(C)[C@@H](O)CC[C@@H]12 C/C(=N\O)c1ccccc1 C/C(=N/O)c1ccccc1 C/N=N/C C/N=N\C
    CN1[C@H]2CC[C@@H]1[C@@H](C(=O)OC)[C@@H](OC(=O)c1ccccc1)C2 CC(C)=C C[C@H](F)[C@@H](F)C C[C@H](F)[C@H](F)C
"""
ODD = r"""
    C CC C#C C=C=C C1CC1 C1=CC1 C12C3C4C1C5C2C3C45 C1CC2CCC1CC2 C1C2CC3CC1CC(C2)C3 C1CCC2(CC1)OCCO2 c1ccc2ccccc2c1
    c1ccc2cc3ccccc3cc2c1 c1cc2ccc3cccc4ccc(c1)c2c34 c1ccc2c(c1)ccc1ccccc12 C1=CC=CC=CC=C1 C1=CC=CC=CC=CC=C1 c1cccccc1=O
    O=c1cccccc1 c1cc[cH+]cc1 c1cccc1 C1=CC=CC1 [cH-]1cccc1 c1ccoc1 c1ccsc1 c1cc[se]c1 c1ccpcc1 c1cc[nH]c1 b1ccccc1
    [nH]1cccccc1 c1ccc2sccc2c1 c1ccc2occc2c1 c1ccc2[nH]ccc2c1 c1ccn2cccc2c1 c1cnc2ncccc2c1 c1ncc2[nH]cnc2n1
    C1CCCCCCCCCCC1 C1CCCCCCCCCCCCCCC1 O=C1CCCCCCCCCCCCCCO1 C1COCCOCCOCCOCCOCCO1 c1cc2ccc1CCc1ccc(cc1)CC2 CSSC CSSSC OO
    COOC NN CNNC N#N [N]=O O=C=O C=O O=CO S=C=S FC(F)(F)F ClC(Cl)(Cl)Cl FS(F)(F)(F)(F)c1ccccc1 O=S(=O)(O)O OP(=O)(O)O
    CP(C)C P [SiH4] [BH4-] C[B](C)C II IC(I)I CC(C)(C)c1cc(C(C)(C)C)c(O)c(C(C)(C)C)c1
    CC1=C2N3C(=CC4=NC(=CC5=NC(=CC(=N2)C1)C=C5)C=C4)C=C3 c1cc2cc3ccc([nH]3)cc3ccc(n3)cc3ccc(n3)cc1[nH]2
    CCCCCCCCCCCCCCCCCCCCCC OCC(O)C(O)C(O)C(O)CO NCCNCCNCCNCCN O=C(NCC(=O)NCC(=O)NCC(=O)O)CN
    CC(C)C1NC(=O)C(C)NC(=O)C(C)NC1=O c1ccc(-c2ccc(-c3ccc(-c4ccccc4)cc3)cc2)cc1 c1ccc(C(c2ccccc2)(c2ccccc2)c2ccccc2)cc1
    C1CC2(C1)CC1(CCC1)C2 C1CC12CC2 N1C=CC=N1 CN1CCC23C4C1CC5=C2C(=C(C=C5)O)OC3C(C=C4)O CC(=O)Oc1ccccc1C(=O)O
    Cn1c(=O)c2c(ncn2C)n(C)c1=O CC(=O)Nc1ccc(O)cc1 CN1CCCC1c1cccnc1 COc1ccc2[nH]cc(CCNC(C)=O)c2c1
    CC(C)Cc1ccc(C(C)C(=O)O)cc1 CN(C)C(=N)N=C(N)N NS(=O)(=O)c1cc2c(cc1Cl)NCNS2(=O)=O Clc1ccc2c(c1)C(c1ccccc1)=NCC(=O)N2
"""
CORES = r"""
    Oc1ccc({})cn1 O=c1cc({})cc[nH]1 Nc1nc({})cc(O)n1 Nc1nc2c(nc[nH]2)c({})n1 O=c1[nH]c({})nc2[nH]cnc12 Cc1cc({})[nH]n1
    Cc1[nH]nc({})c1O c1nc({})c[nH]1 c1nc({})n[nH]1 c1ccc2[nH]c({})nc2c1 c1ccc2c({})n[nH]c2c1 CC(=O)CC(=O){}
    O=C1CC({})CC(=O)C1 OC1=C({})C(=O)NC1 NC(=N)N{} NC(=N)c1ccc({})cc1 CC(=NO){} ON=C(N){} O=C1NC(=O)C({})S1
    O=C1N=C({})NC1=O O=C1NS(=O)(=O)c2cc({})ccc21 [NH3+]C(C{})C([O-])=O NC(C{})C(=O)O [O-]C(=O)c1cc({})cc[nH+]1
    C[n+]1ccc({})cc1 [O-][n+]1ccc({})cc1 C[N+](C)(C)CC{} OP(O)(=O)OC{} [Na+].[O-]C(=O){} Cl.NCC{} CN(C)C=C(C#N){}
    O=C(C=Cc1ccccc1){} O=c1oc2ccccc2c(O)c1{} O=c1cc({})oc2cc(O)cc(O)c12 Nc1nc({})cs1 S=c1[nH]c({})n[nH]1
    CS(=O)(=O)Nc1cccc({})n1 O=C1Nc2ccccc2C1C{} C1CN2CCC1C({})C2 O=C1CC2(CCN({})CC2)CN1
"""
GROUPS = r"""
    C CC C(C)C C8CC8 CO CN C(=O)O C(=O)[O-] C(=O)N C(=O)NC C#N CC(=O)C CC(=O)O C=C CS CSC CF C(F)(F)F CCl CBr c8ccccc8
    c8ccc(O)cc8 c8ccc(N)cc8 c8ccc([O-])cc8 c8ccccn8 c8cccnc8 c8ccncc8 c8cc[nH]c8 c8ccoc8 c8ccsc8 c8c[nH]cn8 c8cc[nH]n8
    c8ccccc8O c8cccc(C(=O)O)c8 c8ccc([N+](=O)[O-])cc8 c8ccc(S(N)(=O)=O)cc8 CN8CCOCC8 CN8CCNCC8 C[NH+](C)C C[N+](C)(C)C
    CP(=O)(O)O C8CCCCC8 C8CCNCC8 C8CCOCC8 Cc8ccccc8 CCc8c[nH]c9ccccc89 C(=N)N CNC(=N)N C(=O)c8ccccc8 C(C)=NO
    c8nc9ccccc9[nH]8 c8ccc9[nH]ccc9c8 c8ccc9ncccc9c8 C[C@H](N)C(=O)O C=CC(=O)O CC#C CNS(C)(=O)=O C8=CC(=O)NC8=O
    c8cc(=O)[nH]c(=O)[nH]8 c8ncc(O)cn8
"""


def reference_structures() -> tuple[str, ...]:
    """Some 2,800 SMILES, each once: over 400 written by hand, then each core with each group."""
    built = (core.format(group) for core in CORES.split() for group in GROUPS.split())
    written = " ".join((TAUTOMERS, CHARGED, SALTS, STEREO, ODD)).split()
    return tuple(dict.fromkeys((*written, *built)))
